"""Processes and sockets.

listener     addresses -> bound sockets, one for each; accepting can pause
    accepting    connections out of one bound socket
own          is this address one of ours?
proxy        Proxy, the object an embedder holds
worker       one process: loop, signals, drain
"""
