"""Frames and header lists of HTTP/2, written and read by hand for tests of its engine."""

from collections.abc import Sequence
from typing import NamedTuple

from cmux_proxy.http1.head_limits import HeadLimits
from cmux_proxy.http2.error_codes import FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, PROTOCOL_ERROR

Fields = Sequence[tuple[bytes, bytes]]
Event = tuple[object, ...]

HEAD_LIMITS = HeadLimits(16_384, 65_536, 256)
GET: Fields = [
    (b":method", b"GET"),
    (b":scheme", b"http"),
    (b":authority", b"a"),
    (b":path", b"/"),
]
POST: Fields = [(b":method", b"POST"), *GET[1:]]
GET_HEAD = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
POST_HEAD = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"


class Frame(NamedTuple):
    """One frame; its payload has padding and priority as they were sent."""

    kind: int
    flags: int
    stream_id: int
    payload: bytes


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """Return the bytes of a frame, whatever its numbers are."""
    size = len(payload).to_bytes(3, "big")
    return size + bytes([kind, flags]) + stream_id.to_bytes(4, "big") + payload


def read_frames(data: bytes) -> list[Frame]:
    """Return the frames in some bytes, which have to be whole."""
    frames = []
    while data:
        end = 9 + int.from_bytes(data[:3], "big")
        assert len(data) >= end, "a frame is cut short"
        stream_id = int.from_bytes(data[5:9], "big")
        frames.append(Frame(data[3], data[4], stream_id, data[9:end]))
        data = data[end:]
    return frames


def number(value: int) -> bytes:
    """Return four bytes: an error code, an increment, a stream."""
    return value.to_bytes(4, "big")


# How a client makes the proxy reset its open stream 1, and with which code.
PROVOKING = {
    "no-increment": (frame(8, 0, 1, number(0)), PROTOCOL_ERROR),
    "priority-of-one-byte": (frame(2, 0, 1, b"1"), FRAME_SIZE_ERROR),
    "window-overflow": (frame(8, 0, 1, number(0x7FFFFFFF)), FLOW_CONTROL_ERROR),
    "headers-inside": (frame(1, 4, 1), PROTOCOL_ERROR),
}


def on_stream(stream_id: int, data: bytes) -> bytes:
    """Return a frame as one of another stream."""
    return data[:5] + number(stream_id) + data[9:]


def plain_block(fields: Fields) -> bytes:
    """Return a header block that uses no table; names and values are short."""
    return b"".join(
        b"\x10" + bytes([len(name)]) + name + bytes([len(value)]) + value for name, value in fields
    )


def window_setting(value: int) -> bytes:
    """Return a SETTINGS frame with an initial window."""
    return frame(4, 0, 0, b"\0\4" + number(value))


def updates(frames: list[Frame]) -> list[tuple[int, int]]:
    """Return stream and increment of each WINDOW_UPDATE."""
    return [
        (sent.stream_id, int.from_bytes(sent.payload, "big")) for sent in frames if sent.kind == 8
    ]


def content(frames: list[Frame], stream_id: int) -> bytes:
    """Return the DATA of a stream."""
    return b"".join(sent.payload for sent in frames if sent[0] == 0 and sent[2] == stream_id)
