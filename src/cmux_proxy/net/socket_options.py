"""The socket options of every TCP connection of the proxy, on either side."""

import socket
import struct
from typing import Final

from cmux_proxy.net.loopback import is_loopback

# Connections that the kernel accepts before the process does: a burst of a thousand connections
# must fit.
LISTEN_BACKLOG: Final = 2048

KEEP_ALIVE_IDLE: Final = 20
KEEP_ALIVE_INTERVAL: Final = 10

# macOS has the idle time under another name.
_IDLE_OPTION: Final[int] = getattr(socket, "TCP_KEEPIDLE", getattr(socket, "TCP_KEEPALIVE", 0))

# Linux alone lets a program choose.
_CONGESTION_OPTION: Final[int | None] = getattr(socket, "TCP_CONGESTION", None)
_SIMPLEST: Final = b"reno"
_PROBE_SOON: Final = 5
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


def tune(sock: socket.socket, host: str) -> None:
    """Send small writes at once and notice a dead peer: after 20 s of silence, every 10 s.

    On a listening socket, for those it accepts: they inherit the options. `host` is the IP address
    that the socket is bound or connected to.
    """
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, _IDLE_OPTION, KEEP_ALIVE_IDLE)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEP_ALIVE_INTERVAL)
    disable_pacing(sock, host)


def probe_soon(sock: socket.socket) -> None:
    """Ask the peer of a connection every few seconds whether it is still there."""
    sock.setsockopt(socket.IPPROTO_TCP, _IDLE_OPTION, _PROBE_SOON)


def disable_pacing(sock: socket.socket, host: str) -> None:
    """Choose the simplest congestion control, which every process may, where `host` is a loopback.

    There is no congestion there, and where the default is BBR, as on many servers, packets are
    paced by a timer, and small portions wake the peer more often.
    """
    if _CONGESTION_OPTION is None or not is_loopback(host):
        return
    try:
        sock.setsockopt(socket.IPPROTO_TCP, _CONGESTION_OPTION, _SIMPLEST)
    except OSError:
        # A kernel that was built without it, or a connection that was reset just now.
        return


def refuse_itself(sock: socket.socket, port: int) -> None:
    """Raise ConnectionRefusedError if a connection to `port` has the same socket at both ends.

    The system may give a connection to a port of this machine that very port, if nobody has it.
    """
    if sock.getsockname()[1] == port and sock.getsockname() == sock.getpeername():
        # With a reset the port is free at once, for the service that is missed.
        reset_on_close(sock)
        raise ConnectionRefusedError


def reset_on_close(sock: socket.socket) -> None:
    """Have the close of a connection be a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
