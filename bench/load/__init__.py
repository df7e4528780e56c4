"""Compares the proxy and other proxies under the same load, in turns.

scenarios.toml  the requests, transfers and tunnels of each scenario
targets.toml    the targets to reach
options         the command line -> a Plan
programs        the proxies, and which of them take part in a scenario
commands        their commands and configurations
launch          starts the upstream and the proxies
processes       child processes pinned to cores, and their memory
usage           the CPU time, the waits and the sleeps of a process
stream.c        clients and upstream for transfers and ping-pong
relay.c         a relay of bytes, the least that a proxy can cost
compiler        compiles both
certificate     the certificate of the scenarios with TLS
loads           what a generator is told to do
generators      one run of wrk, h2load, openssl or stream.c -> counts
h2load          the command of h2load, and what it prints
handshakes      the same of openssl
frames          HTTP/2 frames of a client
probe           single requests and messages
logs            the lines of an access log under load
measure         one run under load -> one Sample
footprint       an idle or a starting proxy -> one Sample
attacks         an attacked proxy -> one Sample
rounds          one scenario -> a Case
cases           samples -> medians and ratios
report          cases -> tables
targets         cases -> results of the targets
results         cases -> JSON
machine         the machine, the commit and the versions
run             the command
chart           JSON -> a picture
"""
