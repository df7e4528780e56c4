"""The proxy and its rivals under the same load, in turns.

scenarios.toml  what is asked for; names are coordinates
targets.toml    what is to be reached
processes       children pinned to cores, and what the kernel says they have used
programs        the upstreams and the proxies: how each is started
stream.c        transfers and ping-pong: clients and upstream
generators      one run of wrk or of stream.c -> counts
measure         one run under load -> one Sample
footprint       an idle or a starting proxy -> one Sample
rounds          one scenario -> a Case
cases           samples -> medians and ratios
report          cases -> tables
targets         cases -> verdicts
results         cases -> JSON
machine         what it all ran on
run             the command
chart           JSON -> a picture
"""
