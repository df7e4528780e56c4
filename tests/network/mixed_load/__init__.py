"""A random mixture of requests, upgrades and tunnels; every byte is checked.

bodies        content derived from names, plain and in chunks
plans         the requests, and the exact heads that both sides must receive
world         what all clients and upstreams share: ports, counts, problems
wires         sockets that keep no received bytes
expectations  responses compared with the expected ones
upstream      the service: does what the target of each request says
client        one client: connections with requests of all types
tunnels       upgrade and CONNECT, and the bytes inside
aborts        clients that disconnect at every stage
memory        descriptors and resident memory of a proxy process
streams       large contents, block by block
pairs         a client and an upstream with one request between them
"""
