"""The other side: what a program needs to reach a port behind a cmux-proxy.

Used by the subcommands that stand at the user's end. Knows nothing of how the proxy works inside.
"""
