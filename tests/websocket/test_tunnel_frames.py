"""Frames of both ends, as `websockets` reads and writes them."""

import pytest
from websockets.frames import Close, Frame, Opcode
from websockets.streams import StreamReader

from cmux_proxy.websocket.close_codes import NORMAL, PROTOCOL_ERROR, is_orderly
from cmux_proxy.websocket.tunnel_frames import (
    BINARY,
    CLOSE,
    MASKED,
    MAX_CONTROL,
    PING,
    PONG,
    TEXT,
    close_payload,
    frame,
    frame_head,
    masked_frame,
)

SIZES = [0, 1, 2, 125, 126, 127, 255, 256, 65535, 65536, 70_000]


def parse(data: bytes, mask: bool) -> Frame:
    """Return the only frame in these bytes."""
    stream = StreamReader()
    stream.feed_data(data)
    stream.feed_eof()
    parser = Frame.parse(stream.read_exact, mask=mask)
    try:
        next(parser)
    except StopIteration as done:
        rest = stream.read_to_eof(1)
        with pytest.raises(StopIteration):
            next(rest)
        result: Frame = done.value
        return result
    raise AssertionError("not a whole frame")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("opcode", [BINARY, TEXT, PING, PONG, CLOSE])
def test_a_frame_of_a_server_is_what_websockets_writes(opcode: int, size: int) -> None:
    if opcode in (BINARY, TEXT) or size <= MAX_CONTROL:
        payload = b"a" * size
        assert frame(opcode, payload) == Frame(Opcode(opcode), payload).serialize(mask=False)


@pytest.mark.parametrize("size", SIZES)
def test_a_frame_of_a_client_is_masked(size: int) -> None:
    payload = bytes(range(256)) * (size // 256 + 1)
    data = masked_frame(BINARY, payload[:size], b"\x01\x80\xfe\x33")
    assert parse(data, True) == Frame(Opcode.BINARY, payload[:size])
    assert data.startswith(frame_head(BINARY, size, MASKED) + b"\x01\x80\xfe\x33")


def test_a_close_has_a_code_and_a_reason() -> None:
    assert Close.parse(close_payload(NORMAL)) == Close(1000, "")
    assert Close.parse(close_payload(PROTOCOL_ERROR, "why ä")) == Close(1002, "why ä")


def test_a_reason_is_cut_between_two_characters() -> None:
    payload = close_payload(PROTOCOL_ERROR, "x" + "ä" * 100)
    assert len(payload) <= MAX_CONTROL
    assert Close.parse(payload) == Close(1002, "x" + "ä" * 61)


def test_what_is_the_end_of_the_bytes() -> None:
    assert [code for code in (1000, 1001, 1002, 1005, 1006, 1011) if is_orderly(code)] == [
        1000, 1005,
    ]  # fmt: skip
