"""The peer of a connection, as lists, logs and forwarded fields name it."""

import socket

from cmux_proxy.config.values import UNIX_PEER
from cmux_proxy.net.stream import Stream


def peer_of(stream: Stream) -> str:
    """Return an IP address, "unix:" for a Unix socket, or "" where the peer is gone already.

    The path to which a peer has bound its end of a Unix socket is the peer's choice, so it
    identifies nothing.
    """
    peer = stream.get_extra_info("peername")
    if isinstance(peer, tuple):
        return str(peer[0])
    sock = stream.get_extra_info("socket")
    return UNIX_PEER if sock is not None and sock.family == socket.AF_UNIX else ""
