"""Who is at the other end of a connection, as lists, logs and forwarded fields name it."""

import socket

from cmux_proxy.config.values import UNIX_PEER
from cmux_proxy.net.stream import Stream


def peer_of(stream: Stream) -> str:
    """Return an IP address, "unix:" for a Unix socket, or "" where the peer has gone already.

    What a peer has bound its end of a Unix socket to, if anything, is up to the peer, and says
    nothing of it.
    """
    sock = stream.get_extra_info("socket")
    if sock is not None and sock.family == socket.AF_UNIX:
        return UNIX_PEER
    peer = stream.get_extra_info("peername")
    return str(peer[0]) if peer else ""
