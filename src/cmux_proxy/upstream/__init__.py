"""How a request gets a connection to its target.

pool                which idle connections are kept; pure bookkeeping, time is passed in
connection          one connection, and UpstreamOwner, the base of what uses it
dialer              requests for which the pool has no connection
target_queue        the requests of one target that wait, and the dials for them
waiters             their order
dial_window         how many dials may be in flight
dial                one dial; dial_owner is what it reports to
http2_upstream      an HTTP/2 connection that requests share; http2_slot is the place of one
tls_opening         its TLS handshake; upstream_tls has the session
connector           the addresses of a target, and a socket to one of them
dns_cache           the addresses of names; resolver looks them up
namespace_connect   sockets inside isolated workspaces
connect_errors      an error -> the reason why an upstream is unavailable
"""
