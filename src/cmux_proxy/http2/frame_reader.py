"""Reads frames of a client (RFC 9113 sections 3.4, 4 and 6), split in any way.

Checks what a frame alone, or the order of frames, can break. Makes no object for a frame, and
copies its payload once. Does not know the states of streams, windows or settings: the handler does.
Neighbours: `rare_frames.py` reads all but HEADERS and DATA, `header_block.py` has a block that
comes in several frames.
"""

from typing import Final

from cmux_proxy.http2.frame_faults import frame_fault, size_fault
from cmux_proxy.http2.frame_handler import FrameHandler
from cmux_proxy.http2.frame_types import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    FRAME_SIZE,
    HAS_PRIORITY,
    HEADER_SIZE,
    HEADERS,
    PADDED,
    PREFACE,
    SETTINGS,
    read_id,
)
from cmux_proxy.http2.header_block import HeaderBlock
from cmux_proxy.http2.rare_frames import RareFrames

_PRIORITY_SIZE: Final = 5

# What is read next.
_AT_PREFACE: Final = 0
_AT_FIRST_FRAME: Final = 1
_AT_FRAME: Final = 2


class FrameReader:
    """The reader of one connection, from its preface on; the peer of a client has none.

    `turns` changes whenever what had begun to arrive, a frame or a header block, is whole.
    """

    __slots__ = (
        "_block", "_block_at", "_handler", "_held", "_held_size", "_is_stopped", "_needed",
        "_phase", "_rare_frames", "turns",
    )  # fmt: skip

    def __init__(self, handler: FrameHandler, has_preface: bool = True) -> None:
        self._handler = handler
        self._block = HeaderBlock()
        # Where the last HEADERS frame that is not a whole block begins in what is fed.
        self._block_at = 0
        self._rare_frames = RareFrames(handler, self._block)
        self._phase = _AT_PREFACE if has_preface else _AT_FIRST_FRAME
        self._is_stopped = False
        # The pieces of a frame that is not whole, and how many bytes are worth a look.
        self._held: list[bytes] = []
        self._held_size = 0
        self._needed = 1
        self.turns = 0

    def feed(self, data: bytes) -> None:
        """Take bytes, and pass the frames that they complete on; raise ConnectionFault."""
        if self._held_size:
            self._held.append(data)
            self._held_size += len(data)
            if self._held_size < self._needed:
                return
            data = b"".join(self._held)
            self._held.clear()
            self._held_size = 0
        start = 0
        if self._phase == _AT_PREFACE:
            start = self._read_preface(data)
        self._block_at = 0
        end = self._read_frames(data, start)
        if end > start and (not self._block.stream_id or self._block_at > start):
            self.turns += 1
        if end < len(data):
            self._hold(data[end:])

    def stop(self) -> None:
        """Read no further frame: the connection has ended."""
        self._is_stopped = True

    def is_clean(self) -> bool:
        """Return whether no frame and no header block has begun to arrive.

        The first SETTINGS frame belongs to the preface (RFC 9113 section 3.4).
        """
        is_greeted = self._phase == _AT_FRAME
        return is_greeted and not self._held_size and not self._block.stream_id

    def _hold(self, rest: bytes) -> None:
        self._held.append(rest)
        self._held_size = len(rest)
        self._needed = len(rest) + 1
        if self._phase != _AT_PREFACE:
            self._needed = HEADER_SIZE
            if len(rest) >= HEADER_SIZE:
                self._needed += rest[0] << 16 | rest[1] << 8 | rest[2]

    def _read_preface(self, data: bytes) -> int:
        """Return the end of the preface, or 0 if it is not whole."""
        start = data[: len(PREFACE)]
        if not PREFACE.startswith(start):
            raise frame_fault("the connection preface is wrong")
        if len(start) < len(PREFACE):
            return 0
        self._phase = _AT_FIRST_FRAME
        return len(PREFACE)

    def _read_frames(self, data: bytes, at: int) -> int:
        """Read all whole frames from `at` on; return the end of the last."""
        end = len(data)
        while end - at >= HEADER_SIZE and self._phase != _AT_PREFACE and not self._is_stopped:
            size = data[at] << 16 | data[at + 1] << 8 | data[at + 2]
            if size > FRAME_SIZE:
                raise size_fault("a frame is larger than it may be")
            frame_end = at + HEADER_SIZE + size
            if frame_end > end:
                break
            kind = data[at + 3]
            flags = data[at + 4]
            stream_id = read_id(data, at + 5)
            if self._phase != _AT_FRAME or self._block.stream_id:
                self._check_order(kind, flags, stream_id)
            at += HEADER_SIZE
            if kind == HEADERS:
                self._read_headers(flags, stream_id, data, at, frame_end)
            elif kind == DATA:
                self._read_data(flags, stream_id, data, at, frame_end)
            else:
                self._rare_frames.read(kind, flags, stream_id, data[at:frame_end])
            at = frame_end
        return at

    def _check_order(self, kind: int, flags: int, stream_id: int) -> None:
        """Raise ConnectionFault for a frame that may not come now."""
        if self._phase == _AT_FIRST_FRAME:
            # RFC 9113 section 3.4
            if kind != SETTINGS or flags & ACK:
                raise frame_fault("the first frame is not SETTINGS")
            self._phase = _AT_FRAME
        elif kind != CONTINUATION or stream_id != self._block.stream_id:
            # RFC 9113 section 4.3
            raise frame_fault("a header block is interrupted by another frame")

    def _read_headers(self, flags: int, stream_id: int, data: bytes, at: int, end: int) -> None:
        """Read a HEADERS frame (RFC 9113 section 6.2); its priority is ignored."""
        if stream_id == 0:
            raise frame_fault("HEADERS is on stream 0")
        start = at - HEADER_SIZE
        if flags & PADDED:
            if at == end:
                raise size_fault("HEADERS is too short")
            end -= data[at]
            at += 1
        depends_on_itself = False
        if flags & HAS_PRIORITY:
            if end - at < _PRIORITY_SIZE and not flags & PADDED:
                raise size_fault("HEADERS is too short")
            depends_on_itself = end - at >= 4 and read_id(data, at) == stream_id
            at += _PRIORITY_SIZE
        if at > end:
            raise frame_fault("the padding is larger than the frame")
        if depends_on_itself:
            raise frame_fault("a stream depends on itself")
        is_last = flags & END_STREAM != 0
        if flags & END_HEADERS:
            self._handler.on_header_block(stream_id, data[at:end], is_last)
        else:
            self._block_at = start
            self._block.begin(stream_id, data[at:end], is_last)

    def _read_data(self, flags: int, stream_id: int, data: bytes, at: int, end: int) -> None:
        """Read a DATA frame (RFC 9113 section 6.1)."""
        if stream_id == 0:
            raise frame_fault("DATA is on stream 0")
        size = end - at
        if flags & PADDED:
            if not size:
                raise size_fault("DATA is too short")
            if data[at] >= size:
                raise frame_fault("the padding is larger than the frame")
            end -= data[at]
            at += 1
        self._handler.on_data_frame(stream_id, data[at:end], size, flags & END_STREAM != 0)
