"""Many idle WebSockets, clients that go away, and mixed traffic, until something grows or breaks.

options     the command line, and whether the machine allows what it asks for
run         starts everything, measures at moments that compare, and judges
stages      what runs when
children    the programs below, as the parent sees them
jobs        the same, as each of them sees itself
websocket   the handshake and the frames of RFC 6455, as far as an echo needs them
echo        the upstream of the WebSockets
idle        the clients of the WebSockets
traffic     the mixed load of `tests/network/mixed_load`, on upstreams that restart
restarts    how upstreams restart, and what that excuses
aborts      clients that go away at random points
footprint   what the proxy's processes hold
verdict     what is wrong, in a line each
"""
