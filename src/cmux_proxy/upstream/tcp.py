"""The options that every TCP connection of the proxy has, on either side."""

import socket
from typing import Final

KEEP_ALIVE_IDLE: Final = 20
KEEP_ALIVE_INTERVAL: Final = 10

# macOS has the idle time under another name.
_IDLE_OPTION: Final[int] = getattr(socket, "TCP_KEEPIDLE", getattr(socket, "TCP_KEEPALIVE", 0))


def tune(sock: socket.socket) -> None:
    """Send small writes at once and notice a dead peer: after 20 s of silence, every 10 s.

    On a listening socket, for those it accepts: they inherit the options.
    """
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, _IDLE_OPTION, KEEP_ALIVE_IDLE)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEP_ALIVE_INTERVAL)
