"""The proxy and its rivals under the same load, in turns.

scenarios.toml  what is asked for; names are coordinates
processes       children pinned to cores, and what the kernel says they have used
programs        the upstream and the proxies: how each is started
measure         one wrk run -> one Sample
report          samples -> medians, ratios, the table and the JSON
machine         what it all ran on
run             the command
"""
