"""Processes and sockets.

binding      addresses and descriptors -> sockets that listen
    unix_socket  those at paths
    inherited    those that listen already
listener     accepts on them; accepting can pause
    accepting    connections out of one bound socket
own          is this address one of ours?
proxy        Proxy, the object an embedder holds
worker       one process: loop, signals, drain
notify       what systemd is told
supervisor   one process or several: starts them, starts dead ones anew, passes signals on
    slot     the place of one worker: its sockets, and the process that serves them
    signals  signals that can be waited for without an event loop
"""
