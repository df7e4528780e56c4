"""What listens on this machine and in its isolated workspaces, told without connecting to it.

Knows namespaces, processes and workspaces; nothing of requests, the relay or the server, which may
ask it.
"""
