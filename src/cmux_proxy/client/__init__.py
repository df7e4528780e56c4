"""The client side: what a program needs to reach a port behind a cmux-proxy.

The client subcommands use it. Does not know how the proxy works inside.
"""
