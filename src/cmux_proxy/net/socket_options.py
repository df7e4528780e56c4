"""The socket options of listeners and of TCP connections on either side."""

import socket
import struct
from typing import Final

from cmux_proxy.net.loopback import is_loopback

# Connections that the kernel accepts before the process does: a burst of a thousand connections
# must fit.
LISTEN_BACKLOG: Final = 2048

KEEP_ALIVE_IDLE: Final = 20
KEEP_ALIVE_INTERVAL: Final = 10
# As many as there can be. A loopback drops packets when thousands of connections send their probes
# in the same tick, and most of them would be lost after the nine of the default.
KEEP_ALIVE_PROBES: Final = 127

# macOS has the idle time under another name.
IDLE_OPTION: Final[int] = getattr(socket, "TCP_KEEPIDLE", getattr(socket, "TCP_KEEPALIVE", 0))

# Only Linux lets a program choose.
_CONGESTION_OPTION: Final[int | None] = getattr(socket, "TCP_CONGESTION", None)
RENO: Final = b"reno"
_SHORT_IDLE: Final = 5
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


def reuse_address(sock: socket.socket) -> None:
    """Let the socket bind an address that closed connections still use."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)


def share_port(sock: socket.socket) -> None:
    """Let several sockets listen on one address; on Linux the kernel balances their connections."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)


def accept_only_ipv6(sock: socket.socket) -> None:
    """Leave IPv4 to another socket on the same port."""
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)


def is_listening(sock: socket.socket) -> bool:
    """Return whether a socket listens."""
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) != 0


def tune(sock: socket.socket, host: str) -> None:
    """Send small writes at once and notice a dead peer: probe after 20 s of silence, every 10 s.

    Accepted connections inherit the options of the listening socket. `host` is the IP address to
    which the socket is bound or connected. On a loopback, whose kernel knows of the end of every
    peer, probes are as rare as the system's settings say.
    """
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if is_loopback(host):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEP_ALIVE_PROBES)
        disable_pacing(sock, host)
    else:
        sock.setsockopt(socket.IPPROTO_TCP, IDLE_OPTION, KEEP_ALIVE_IDLE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEP_ALIVE_INTERVAL)


def probe_soon(sock: socket.socket) -> None:
    """Send a keep-alive probe to the peer of a connection every few seconds."""
    sock.setsockopt(socket.IPPROTO_TCP, IDLE_OPTION, _SHORT_IDLE)


def disable_pacing(sock: socket.socket, host: str, algorithm: bytes = RENO) -> None:
    """Choose a congestion control without pacing where `host` is a loopback; any process may.

    There is no congestion there. Where the default is BBR, as on many servers, a timer paces the
    packets, and small portions wake the peer more often.
    """
    if _CONGESTION_OPTION is None or not is_loopback(host):
        return
    try:
        sock.setsockopt(socket.IPPROTO_TCP, _CONGESTION_OPTION, algorithm)
    except OSError:
        # The kernel was built without it, or the connection has just been reset.
        return


def refuse_itself(sock: socket.socket, port: int) -> None:
    """Raise ConnectionRefusedError if a connection to `port` has the same socket at both ends.

    The system may choose the target port itself as the local port, if no socket is bound to it.
    """
    if sock.getsockname()[1] == port and sock.getsockname() == sock.getpeername():
        # After a reset the port is free at once, for the service that should listen there.
        reset_on_close(sock)
        raise ConnectionRefusedError


def reset_on_close(sock: socket.socket) -> None:
    """Make the close of a connection a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
