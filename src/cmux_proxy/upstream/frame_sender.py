"""Writes the frames of one HTTP/2 connection to an upstream: at once, or when the loop turns.

Does not know what the frames are for. Neighbour: `http2_upstream.py` has the connection.
"""

from typing import Final

from cmux_proxy.http2.server_connection import ServerConnection
from cmux_proxy.net.stream import Loop, Stream

# Frames of up to so many bytes are joined, because a copy costs less than many buffers.
_MAX_JOINED: Final = 65536


class FrameSender:
    """Sends what `core` has, on `transport`, which is set before the first frame.

    While it `is_held`, `flush` sends nothing: a call of `send` follows.
    """

    __slots__ = (
        "_core", "_is_paused", "_is_read_paused", "_is_scheduled", "_loop", "is_held", "transport",
    )  # fmt: skip

    def __init__(self, loop: Loop, core: ServerConnection) -> None:
        self._loop = loop
        self._core = core
        self.transport: Stream
        self.is_held = False
        self._is_paused = False
        self._is_read_paused = False
        self._is_scheduled = False

    def flush(self) -> None:
        """Send at once if one stream is open, otherwise once in each turn of the loop."""
        if self.is_held or self._is_scheduled:
            return
        if self._core.count_streams() <= 1:
            self.send()
        else:
            self._is_scheduled = True
            self._loop.call_soon(self._send_scheduled)

    def _send_scheduled(self) -> None:
        self._is_scheduled = False
        self.send()

    def send(self) -> None:
        """Send now, unless the upstream does not read."""
        if self._is_paused or self.transport.is_closing():
            return
        pieces = self._core.take_frames()
        size = 0
        for piece in pieces:
            size += len(piece)
        if 0 < size <= _MAX_JOINED:
            self.transport.write(b"".join(pieces))
        elif size > 0:
            self.transport.writelines(pieces)

    def pause(self) -> None:
        """Leave all frames with the engine."""
        self._is_paused = True
        self._core.pause_writing()

    def check_reading(self) -> None:
        """Stop reading if many frames wait for an upstream that does not read."""
        if not self._core.may_read() and not self._is_read_paused:
            self._is_read_paused = True
            self.transport.pause_reading()

    def resume(self) -> None:
        """Send again, and read again."""
        self._is_paused = False
        self._core.resume_writing()
        self.send()
        if self._is_read_paused:
            self._is_read_paused = False
            self.transport.resume_reading()
