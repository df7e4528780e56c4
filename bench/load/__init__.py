"""Compares the proxy and other proxies under the same load, in turns.

scenarios.toml  the requests, transfers and tunnels of each scenario
targets.toml    the targets to reach
processes       child processes pinned to cores, and their CPU time and memory
programs        the upstreams and the proxies, and their commands
stream.c        clients and upstream for transfers and ping-pong
generators      one run of wrk or of stream.c -> counts
measure         one run under load -> one Sample
footprint       an idle or a starting proxy -> one Sample
rounds          one scenario -> a Case
cases           samples -> medians and ratios
report          cases -> tables
targets         cases -> results of the targets
results         cases -> JSON
machine         the machine, the commit and the versions
run             the command
chart           JSON -> a picture
"""
