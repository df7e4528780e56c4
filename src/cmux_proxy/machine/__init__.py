"""What listens on this machine and in its isolated workspaces, found without connecting to it.

Knows namespaces, processes and workspaces. Does not know requests, the relay or the server; all of
them may import this room.
"""
