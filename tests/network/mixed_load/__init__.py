"""A random mixture of everything the proxy carries, of which every byte is checked.

bodies     content derived from names, in chunks and out of them
plans      what is asked, and the exact heads that must come of it on either side
world      what all share: ports, what was done, what went wrong
wires      sockets that remember nothing
reading    answers, compared with what they must be
upstream   the service: does what each request's target says
client     one client: connections with requests of all kinds
tunnels    upgrade and CONNECT, and the conversation inside
aborts     clients that go away amid it all
memory     what the proxy holds: descriptors and resident memory
streams    large contents, block by block
pairs      a client and an upstream, with one message between them
"""
