"""Puts a header block together: a HEADERS frame and its CONTINUATION frames (RFC 9113 section 4.3).

Limits both, because a block is decoded only when it is whole (CVE-2024-27316). Does not know what
is in it.
"""

from typing import Final

from cmux_proxy.http2.error_codes import ENHANCE_YOUR_CALM
from cmux_proxy.http2.errors import ConnectionFault

MAX_CONTINUATIONS: Final = 8
MAX_BLOCK: Final = 65_536


class HeaderBlock:
    """The block that is being received; `stream_id` is 0 if there is none."""

    __slots__ = ("_count", "_pieces", "_size", "is_last", "stream_id")

    def __init__(self) -> None:
        self.stream_id = 0
        # Whether the HEADERS frame ends the stream.
        self.is_last = False
        self._pieces: list[bytes] = []
        self._size = 0
        self._count = 0

    def begin(self, stream_id: int, fragment: bytes, is_last: bool) -> None:
        """Take the fragment of a HEADERS frame that is not the whole block."""
        self.stream_id = stream_id
        self.is_last = is_last
        self._pieces.append(fragment)
        self._size = len(fragment)
        self._count = 0

    def add(self, fragment: bytes) -> None:
        """Take the fragment of a CONTINUATION frame; raise ConnectionFault if it is too much."""
        self._count += 1
        self._size += len(fragment)
        if self._count > MAX_CONTINUATIONS:
            raise ConnectionFault(ENHANCE_YOUR_CALM, "a header block has too many frames")
        if self._size > MAX_BLOCK:
            raise ConnectionFault(ENHANCE_YOUR_CALM, "a header block is too large")
        self._pieces.append(fragment)

    def finish(self) -> bytes:
        """Return the whole block; there is none in progress after that."""
        block = b"".join(self._pieces)
        self._pieces.clear()
        self.stream_id = 0
        return block
