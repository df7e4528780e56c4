"""What a client may send: the window of the connection, and when windows are given back.

RFC 9113 sections 5.2 and 6.9. A window is given back only for what was consumed, so that what is
held stays within it: 1 MiB for a connection, 64 KiB for a stream. Does not know who consumes.
"""

from typing import Final

from cmux_proxy.http2.error_codes import FLOW_CONTROL_ERROR
from cmux_proxy.http2.errors import ConnectionFault
from cmux_proxy.http2.frame_writer import window_update_frame
from cmux_proxy.http2.http2_stream import Http2Stream

# What part of a window is consumed before it is given back.
_SHARE: Final = 4
_SHARE_OF_STREAM: Final = 2


class ReceiveWindows:
    """The connection's window, and when those of streams are given back."""

    __slots__ = ("_least", "_least_of_stream", "_owed", "_window")

    def __init__(self, size: int, stream_size: int) -> None:
        self._window = size
        self._owed = 0
        self._least = size // _SHARE
        self._least_of_stream = stream_size // _SHARE_OF_STREAM

    def take(self, size: int) -> None:
        """Count what has arrived on the connection; raise ConnectionFault if it is too much."""
        self._window -= size
        if self._window < 0:
            rule = "DATA is larger than the window of the connection"
            raise ConnectionFault(FLOW_CONTROL_ERROR, rule)

    def release(self, size: int) -> bytes:
        """Count what no longer is held; return the frame that gives it back, or nothing.

        It is given back early if little is left, so that one stream cannot stop the others.
        """
        self._owed += size
        owed = self._owed
        if owed == 0 or (owed < self._least and owed < self._window):
            return b""
        self._window += owed
        self._owed = 0
        return window_update_frame(0, owed)

    def release_of_stream(self, stream: Http2Stream, size: int) -> bytes:
        """Do the same for a stream's window; nothing is given back after the request's end."""
        stream.owed += size
        if stream.has_request_ended():
            return b""
        owed = stream.owed
        if owed == 0 or (owed < self._least_of_stream and owed < stream.receive_window):
            return b""
        stream.receive_window += owed
        stream.owed = 0
        return window_update_frame(stream.id, owed)
