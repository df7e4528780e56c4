"""The numbers of HTTP/2: preface, types of frames, flags, settings (RFC 9113 sections 3.4 to 6)."""

from typing import Final

# RFC 9113 section 3.4: what a client sends first.
PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

HEADER_SIZE: Final = 9

DATA: Final = 0x00
HEADERS: Final = 0x01
PRIORITY: Final = 0x02
RST_STREAM: Final = 0x03
SETTINGS: Final = 0x04
PUSH_PROMISE: Final = 0x05
PING: Final = 0x06
GOAWAY: Final = 0x07
WINDOW_UPDATE: Final = 0x08
CONTINUATION: Final = 0x09

ACK: Final = 0x01
END_STREAM: Final = 0x01
END_HEADERS: Final = 0x04
PADDED: Final = 0x08
HAS_PRIORITY: Final = 0x20

HEADER_TABLE_SIZE: Final = 0x01
ENABLE_PUSH: Final = 0x02
MAX_CONCURRENT_STREAMS: Final = 0x03
INITIAL_WINDOW_SIZE: Final = 0x04
MAX_FRAME_SIZE: Final = 0x05
MAX_HEADER_LIST_SIZE: Final = 0x06
# RFC 8441 section 3
ENABLE_CONNECT_PROTOCOL: Final = 0x08
# RFC 9218 section 2.1
NO_RFC7540_PRIORITIES: Final = 0x09

# The size of a frame's payload that each side accepts without a SETTINGS frame; the proxy neither
# offers nor uses more.
FRAME_SIZE: Final = 16_384
# The size of a stream's window, and of the connection's, without a SETTINGS frame (section 6.9.2).
DEFAULT_WINDOW: Final = 65_535
MAX_WINDOW: Final = 0x7FFF_FFFF
MAX_STREAM_ID: Final = 0x7FFF_FFFF


def read_id(data: bytes, at: int) -> int:
    """Return a number of 31 bits: a stream, or a window's increment (section 4.1)."""
    number = data[at] << 24 | data[at + 1] << 16 | data[at + 2] << 8 | data[at + 3]
    return number & MAX_STREAM_ID
