"""What still has to happen to a connection if nothing more is done to it."""

from fuzz.churn.connection import Connection
from fuzz.churn.peer import End


def missing(connection: Connection) -> str:
    """Return what has not happened yet, or an empty text."""
    return _missing_on_our_side(connection) or _missing_at_the_peer(connection)


def _missing_on_our_side(connection: Connection) -> str:
    peer = connection.peer
    if connection.is_lost:
        is_released = connection.stream is None or connection.stream.get_protocol() is None
        return "" if is_released else "the release of its owner"
    if connection.stream is None:
        return "connection_made"
    is_sent = connection.is_aborted or not connection.stream.get_write_buffer_size()
    if connection.is_closed:
        return "connection_lost" if is_sent or not peer.is_held else ""
    if connection.is_writing_paused and is_sent:
        return "resume_writing"
    if connection.is_paused or connection.has_end:
        return ""
    if peer.end is End.RESET:
        return "eof_received or connection_lost"
    if peer.end is not End.NONE:
        return "eof_received"
    unread = peer.sent - connection.received
    return f"{unread} bytes" if unread else ""


def _missing_at_the_peer(connection: Connection) -> str:
    peer = connection.peer
    if peer.is_held or peer.has_left:
        return ""
    # With a duplicate of the descriptor, the kernel sends no end when we close.
    if connection.is_lost and not (connection.kept or peer.is_over):
        return "the end at the peer"
    if _may_lose(connection):
        return ""
    if peer.received < connection.written:
        return f"{connection.written - peer.received} bytes at the peer"
    if connection.is_ended and not (connection.is_lost or peer.is_over):
        return "the end of our half at the peer"
    return ""


def _may_lose(connection: Connection) -> bool:
    """Return whether the peer may miss bytes: what is closed with unread bytes is reset."""
    is_unread = connection.received < connection.peer.sent or connection.peer.has_urgent
    return connection.is_aborted or (connection.is_closed and is_unread)
