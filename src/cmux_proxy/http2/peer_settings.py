"""Reads SETTINGS frames of a client (RFC 9113 section 6.5).

Does not know what a change means for streams: `server_connection.py` acts on it.
"""

from typing import Final

from cmux_proxy.http2.error_codes import FLOW_CONTROL_ERROR, PROTOCOL_ERROR
from cmux_proxy.http2.errors import ConnectionFault
from cmux_proxy.http2.frame_types import (
    DEFAULT_WINDOW,
    ENABLE_CONNECT_PROTOCOL,
    ENABLE_PUSH,
    FRAME_SIZE,
    HEADER_TABLE_SIZE,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    MAX_FRAME_SIZE,
    MAX_STREAM_ID,
    MAX_WINDOW,
    NO_RFC7540_PRIORITIES,
)
from cmux_proxy.http2.hpack_decoder import TABLE_SIZE

_ENTRY_SIZE: Final = 6
_MAX_FRAME_SIZE: Final = 0xFF_FFFF
_SWITCHES: Final = (ENABLE_PUSH, ENABLE_CONNECT_PROTOCOL, NO_RFC7540_PRIORITIES)


class PeerSettings:
    """What the client has set: the window of new streams, and the table of our encoder.

    `smallest_table` is the smallest size that the last frame named (RFC 7541 section 4.2), and both
    sizes are at most TABLE_SIZE. Other settings ask for nothing that the proxy does.
    """

    __slots__ = ("initial_window", "is_known", "max_streams", "smallest_table", "table_size")

    def __init__(self) -> None:
        self.initial_window = DEFAULT_WINDOW
        # Whether a frame has come, and how many streams its sender allows to be open.
        self.is_known = False
        self.max_streams = MAX_STREAM_ID
        self.table_size = TABLE_SIZE
        self.smallest_table = TABLE_SIZE

    def read(self, payload: bytes) -> None:
        """Take the values of a frame; raise ConnectionFault for one that is not allowed."""
        self.is_known = True
        self.smallest_table = self.table_size
        for at in range(0, len(payload), _ENTRY_SIZE):
            number = payload[at] << 8 | payload[at + 1]
            value = int.from_bytes(payload[at + 2 : at + _ENTRY_SIZE], "big")
            if number == HEADER_TABLE_SIZE:
                self.table_size = min(value, TABLE_SIZE)
                self.smallest_table = min(self.smallest_table, self.table_size)
            elif number == INITIAL_WINDOW_SIZE:
                if value > MAX_WINDOW:
                    raise ConnectionFault(FLOW_CONTROL_ERROR, "the initial window is too large")
                self.initial_window = value
            elif number == MAX_CONCURRENT_STREAMS:
                self.max_streams = min(value, MAX_STREAM_ID)
            elif number == MAX_FRAME_SIZE:
                if not FRAME_SIZE <= value <= _MAX_FRAME_SIZE:
                    raise ConnectionFault(PROTOCOL_ERROR, "the maximum frame size is out of range")
            elif number in _SWITCHES and value > 1:
                raise ConnectionFault(PROTOCOL_ERROR, "a setting is neither 0 nor 1")
