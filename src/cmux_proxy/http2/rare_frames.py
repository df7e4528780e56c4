"""Reads all frames but HEADERS and DATA (RFC 9113 section 6).

Checks what a frame alone can break. Does not know the states of streams, windows or settings: the
handler does. Neighbour: `frame_reader.py` finds the frames in the bytes.
"""

from typing import Final

from cmux_proxy.http2.error_codes import FRAME_SIZE_ERROR, PROTOCOL_ERROR
from cmux_proxy.http2.frame_faults import frame_fault, size_fault
from cmux_proxy.http2.frame_handler import FrameHandler
from cmux_proxy.http2.frame_types import (
    ACK,
    CONTINUATION,
    END_HEADERS,
    GOAWAY,
    PING,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    read_id,
)
from cmux_proxy.http2.header_block import HeaderBlock

_PRIORITY_SIZE: Final = 5
_SETTING_SIZE: Final = 6
_PING_SIZE: Final = 8
_GOAWAY_SIZE: Final = 8


class RareFrames:
    """Reads frames for one connection; `block` is the header block that is being received."""

    __slots__ = ("_block", "_handler")

    def __init__(self, handler: FrameHandler, block: HeaderBlock) -> None:
        self._handler = handler
        self._block = block

    def read(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        """Read a frame; types that are not known are ignored (RFC 9113 section 4.1)."""
        if kind == WINDOW_UPDATE:
            self._read_window_update(stream_id, payload)
        elif kind == RST_STREAM:
            self._read_reset(stream_id, payload)
        elif kind == PRIORITY:
            self._read_priority(stream_id, payload)
        elif kind == CONTINUATION:
            self._read_continuation(flags, payload)
        elif kind == PUSH_PROMISE:
            raise frame_fault("PUSH_PROMISE is not allowed here")
        elif kind in (SETTINGS, PING, GOAWAY):
            if stream_id:
                raise frame_fault("a frame of the connection is on a stream")
            self._read_of_connection(kind, flags, payload)

    def _read_window_update(self, stream_id: int, payload: bytes) -> None:
        """Read a WINDOW_UPDATE frame (RFC 9113 section 6.9)."""
        if len(payload) != 4:
            raise size_fault("WINDOW_UPDATE has a wrong size")
        increment = read_id(payload, 0)
        if increment:
            self._handler.on_window_update(stream_id, increment)
        elif stream_id == 0:
            raise frame_fault("a window is updated by 0")
        else:
            self._handler.on_frame_fault(stream_id, PROTOCOL_ERROR, "a window is updated by 0")

    def _read_of_connection(self, kind: int, flags: int, payload: bytes) -> None:
        size = len(payload)
        if kind == SETTINGS:
            if size % _SETTING_SIZE or (flags & ACK and size):
                raise size_fault("SETTINGS has a wrong size")
            if not flags & ACK:
                self._handler.on_settings_frame(payload)
        elif kind == PING:
            if size != _PING_SIZE:
                raise size_fault("PING has a wrong size")
            self._handler.on_ping_frame(payload, flags & ACK != 0)
        else:
            if size < _GOAWAY_SIZE:
                raise size_fault("GOAWAY is too short")
            code = int.from_bytes(payload[4:8], "big")
            self._handler.on_goaway_frame(read_id(payload, 0), code)

    def _read_reset(self, stream_id: int, payload: bytes) -> None:
        """Read a RST_STREAM frame (RFC 9113 section 6.4)."""
        if stream_id == 0:
            raise frame_fault("RST_STREAM is on stream 0")
        if len(payload) != 4:
            raise size_fault("RST_STREAM has a wrong size")
        self._handler.on_reset_frame(stream_id, int.from_bytes(payload, "big"))

    def _read_priority(self, stream_id: int, payload: bytes) -> None:
        """Check a PRIORITY frame, which is otherwise ignored (RFC 9113 section 6.3)."""
        if stream_id == 0:
            raise frame_fault("PRIORITY is on stream 0")
        if len(payload) != _PRIORITY_SIZE:
            rule = "PRIORITY has a wrong size"
            self._handler.on_frame_fault(stream_id, FRAME_SIZE_ERROR, rule)
        elif read_id(payload, 0) == stream_id:
            raise frame_fault("a stream depends on itself")

    def _read_continuation(self, flags: int, payload: bytes) -> None:
        """Read a CONTINUATION frame (RFC 9113 section 6.10)."""
        block = self._block
        if not block.stream_id:
            raise frame_fault("CONTINUATION is not behind HEADERS")
        block.add(payload)
        if flags & END_HEADERS:
            stream_id = block.stream_id
            self._handler.on_header_block(stream_id, block.finish(), block.is_last)
