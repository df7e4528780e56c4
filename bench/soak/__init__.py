"""Many idle WebSockets, aborted requests and mixed traffic; finds leaks and mixed-up bytes.

options     the command line, and whether the machine allows it
run         starts all programs, measures at comparable moments, and reports
stages      which programs run at which time
children    the child programs, in the parent
jobs        the same, in the child
websocket   the upgrade and the frames of RFC 6455 that an echo needs
echo        the upstream of the WebSockets
idle        the clients of the WebSockets
traffic     the mixed load of `tests/network/mixed_load`, on upstreams that restart
restarts    how upstreams restart, and which errors that excuses
aborts      clients that disconnect at random points
footprint   memory and descriptors of the proxy's processes
verdict     the problems, one line for each
"""
