"""Makes frames (RFC 9113 sections 4.1 and 6). Does not know streams, windows or tables."""

from cmux_proxy.http2.frame_types import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    FRAME_SIZE,
    GOAWAY,
    HEADERS,
    PING,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
)

try:
    from cmux_proxy.http2._fast_frames import frame_header as fast_frame_header
    from cmux_proxy.http2._fast_frames import response_frames as fast_response_frames
except ImportError:
    HAS_FAST_FRAMES = False
else:
    HAS_FAST_FRAMES = True


def frame_header(size: int, kind: int, flags: int, stream_id: int) -> bytes:
    """Return the nine bytes before a payload of at most FRAME_SIZE bytes."""
    if HAS_FAST_FRAMES:
        return fast_frame_header(size, kind, flags, stream_id)
    # The first byte is 0, and the others are a number that needs no object of Python.
    return b"\0" + (size << 48 | kind << 40 | flags << 32 | stream_id).to_bytes(8, "big")


def headers_frames(stream_id: int, block: bytes, is_last: bool) -> bytes:
    """Return a HEADERS frame with a header block, and CONTINUATION frames for its rest."""
    flags = END_STREAM if is_last else 0
    size = len(block)
    if size <= FRAME_SIZE:
        return frame_header(size, HEADERS, flags | END_HEADERS, stream_id) + block
    pieces = [frame_header(FRAME_SIZE, HEADERS, flags, stream_id), block[:FRAME_SIZE]]
    for start in range(FRAME_SIZE, size, FRAME_SIZE):
        piece = block[start : start + FRAME_SIZE]
        flags = END_HEADERS if start + FRAME_SIZE >= size else 0
        pieces.append(frame_header(len(piece), CONTINUATION, flags, stream_id))
        pieces.append(piece)
    return b"".join(pieces)


def response_frames(stream_id: int, block: bytes, body: bytes) -> bytes:
    """Return a HEADERS frame and a DATA frame that ends the stream, of at most FRAME_SIZE each."""
    if HAS_FAST_FRAMES:
        return fast_response_frames(stream_id, block, body)
    head = frame_header(len(block), HEADERS, END_HEADERS, stream_id)
    return b"".join((head, block, frame_header(len(body), DATA, END_STREAM, stream_id), body))


def reset_frame(stream_id: int, code: int) -> bytes:
    """Return a RST_STREAM frame."""
    return frame_header(4, RST_STREAM, 0, stream_id) + code.to_bytes(4, "big")


def settings_frame(settings: dict[int, int]) -> bytes:
    """Return a SETTINGS frame with these values."""
    payload = b"".join(
        number.to_bytes(2, "big") + value.to_bytes(4, "big") for number, value in settings.items()
    )
    return frame_header(len(payload), SETTINGS, 0, 0) + payload


def settings_ack_frame() -> bytes:
    """Return the acknowledgement of a SETTINGS frame."""
    return frame_header(0, SETTINGS, ACK, 0)


def ping_frame(payload: bytes, is_ack: bool) -> bytes:
    """Return a PING frame; its payload has eight bytes."""
    return frame_header(8, PING, ACK if is_ack else 0, 0) + payload


def goaway_frame(last_stream_id: int, code: int, reason: bytes) -> bytes:
    """Return a GOAWAY frame; `reason` is for people who debug the client."""
    payload = last_stream_id.to_bytes(4, "big") + code.to_bytes(4, "big") + reason
    return frame_header(len(payload), GOAWAY, 0, 0) + payload


def window_update_frame(stream_id: int, increment: int) -> bytes:
    """Return a WINDOW_UPDATE frame."""
    return frame_header(4, WINDOW_UPDATE, 0, stream_id) + increment.to_bytes(4, "big")
