"""The right-hand side: connections to upstreams.

dial         opens one within a deadline; the only place that connects
connection   one connection, and UpstreamOwner, the base of whatever uses it
pool         which idle connections are kept; pure bookkeeping, time is passed in
"""
