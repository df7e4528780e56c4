"""Frames are written as hyperframe reads them."""

import pytest
from hyperframe import frame as frames

from cmux_proxy.http2 import frame_writer
from cmux_proxy.http2.frame_types import FRAME_SIZE
from tests.helpers.http2_frames import read_frames


def parsed(data: bytes) -> frames.Frame:
    """Return the only frame in some bytes."""
    parsed_frame, size = frames.Frame.parse_frame_header(memoryview(data)[:9])
    assert len(data) == 9 + size
    parsed_frame.parse_body(memoryview(data)[9:])
    return parsed_frame


def test_a_frame_header_has_its_numbers() -> None:
    header = frame_writer.frame_header(0x0203, 0x04, 0x05, 0x7FFFFFFF)
    assert header == bytes([0, 2, 3, 4, 5, 0x7F, 0xFF, 0xFF, 0xFF])
    assert frame_writer.frame_header(FRAME_SIZE, 0, 0, 1)[:3] == b"\0\x40\0"


def test_small_frames() -> None:
    reset = parsed(frame_writer.reset_frame(3, 0xB))
    assert isinstance(reset, frames.RstStreamFrame)
    assert (reset.stream_id, reset.error_code) == (3, 0xB)
    settings = parsed(frame_writer.settings_frame({3: 100, 4: 70_000}))
    assert isinstance(settings, frames.SettingsFrame)
    assert settings.settings == {3: 100, 4: 70_000}
    ack = parsed(frame_writer.settings_ack_frame())
    assert isinstance(ack, frames.SettingsFrame)
    assert "ACK" in ack.flags
    for is_ack in (False, True):
        ping = parsed(frame_writer.ping_frame(b"12345678", is_ack))
        assert isinstance(ping, frames.PingFrame)
        assert (ping.opaque_data, "ACK" in ping.flags) == (b"12345678", is_ack)
    update = parsed(frame_writer.window_update_frame(5, 0x7FFFFFFF))
    assert isinstance(update, frames.WindowUpdateFrame)
    assert (update.stream_id, update.window_increment) == (5, 0x7FFFFFFF)
    goaway = parsed(frame_writer.goaway_frame(7, 2, b"why"))
    assert isinstance(goaway, frames.GoAwayFrame)
    assert (goaway.last_stream_id, goaway.error_code, goaway.additional_data) == (7, 2, b"why")


@pytest.mark.parametrize(
    "size", [0, 1, FRAME_SIZE, FRAME_SIZE + 1, FRAME_SIZE * 2, FRAME_SIZE * 2 + 1]
)
@pytest.mark.parametrize("is_last", [False, True])
def test_a_large_block_needs_continuations(size: int, is_last: bool) -> None:
    block = bytes(index % 251 for index in range(size))
    written = read_frames(frame_writer.headers_frames(1, block, is_last))
    assert b"".join(part.payload for part in written) == block
    assert [part.kind for part in written] == [1] + [9] * (len(written) - 1)
    assert len(written) == max(1, -(-size // FRAME_SIZE))
    assert [part.flags & 4 for part in written] == [0] * (len(written) - 1) + [4]
    assert [part.flags & 1 for part in written] == [int(is_last)] + [0] * (len(written) - 1)
