"""Frames of a peer, fed whole, byte by byte and in other pieces; `websockets` reads them too."""

import random
from collections.abc import Sequence
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.exceptions import PayloadTooBig, ProtocolError
from websockets.frames import CTRL_OPCODES, Close, Frame, Opcode
from websockets.streams import StreamReader

from cmux_proxy.websocket.close_codes import (
    INVALID_PAYLOAD,
    NO_STATUS,
    NORMAL,
    PROTOCOL_ERROR,
    TOO_BIG,
    UNSUPPORTED_DATA,
)
from cmux_proxy.websocket.tunnel_frames import MAX_FRAME
from cmux_proxy.websocket.tunnel_reader import BROKEN, CLOSED, ENDED, PINGED, PONGED, TunnelReader
from tests.helpers.feeding import split_at, ways_to_split

KEY = b"\x01\x80\xfe\x33"
HALF_CLOSE = Frame(Opcode.TEXT, b"F")


class Read(NamedTuple):
    """What a reader has made of some bytes."""

    payload: bytes
    news: int
    code: int
    reason: str
    ping: bytes


def read_pieces(reader: TunnelReader, pieces: Sequence[bytes]) -> Read:
    payload = b"".join([reader.feed(piece) for piece in pieces])
    return Read(payload, reader.news, reader.code, reader.reason, reader.ping)


def read(data: bytes, is_masked: bool = True, has_half_close: bool = True) -> Read:
    """Return what a reader makes of bytes, however they are split."""
    whole = read_pieces(TunnelReader(is_masked, has_half_close), [data])
    for pieces in ways_to_split(data):
        assert read_pieces(TunnelReader(is_masked, has_half_close), pieces) == whole, pieces
    return whole


def masked(*frames: Frame) -> bytes:
    """Return the bytes of frames as a client sends them."""
    return b"".join(frame.serialize(mask=True) for frame in frames)


def raw(first: int, second: int, rest: bytes = b"") -> bytes:
    """Return a frame with these two bytes, and what follows its key."""
    return bytes([first, second]) + KEY + rest


@pytest.mark.parametrize("size", [0, 1, 7, 8, 125, 126, 127, 65535, 65536, 200_000])
def test_a_binary_message_is_its_payload(size: int) -> None:
    payload = random.Random(size).randbytes(size)
    for is_masked in (True, False):
        data = Frame(Opcode.BINARY, payload).serialize(mask=is_masked)
        assert read(data, is_masked) == Read(payload, 0, 0, "", b"")


def test_fragments_are_joined_and_control_frames_may_come_between_them() -> None:
    data = masked(
        Frame(Opcode.BINARY, b"one", fin=False), Frame(Opcode.PING, b"p" * 125),
        Frame(Opcode.CONT, b"", fin=False), Frame(Opcode.PONG, b"any"),
        Frame(Opcode.CONT, b" two"), Frame(Opcode.BINARY, b" three"),
    )  # fmt: skip
    assert read(data) == Read(b"one two three", PINGED | PONGED, 0, "", b"p" * 125)


def test_a_payload_is_handed_on_as_it_arrives() -> None:
    reader = TunnelReader(True, False)
    data = masked(Frame(Opcode.BINARY, b"abcdef"))
    assert [reader.feed(data[:7]), reader.feed(data[7:9]), reader.feed(data[9:])] == [
        b"a", b"bc", b"def",
    ]  # fmt: skip


def test_the_last_ping_is_kept() -> None:
    assert read(masked(Frame(Opcode.PING, b"1"), Frame(Opcode.PING, b"2"))).ping == b"2"


def test_a_half_close_comes_behind_the_payload() -> None:
    data = masked(Frame(Opcode.BINARY, b"last"), HALF_CLOSE, Frame(Opcode.PING, b""))
    assert read(data) == Read(b"last", ENDED | PINGED, 0, "", b"")


@pytest.mark.parametrize(
    ("payload", "code", "reason"),
    [
        pytest.param(b"", NO_STATUS, "", id="no code"),
        pytest.param(b"\x03\xe8", NORMAL, "", id="normal"),
        pytest.param(b"\x03\xf3oh \xc3\xa4", 1011, "oh ä", id="reason"),
        pytest.param(b"\x0b\xb8", 3000, "", id="of a library"),
        pytest.param(b"\x13\x87", 4999, "", id="of an application"),
    ],
)
def test_nothing_counts_behind_a_close(payload: bytes, code: int, reason: str) -> None:
    data = masked(
        Frame(Opcode.BINARY, b"x"), Frame(Opcode.CLOSE, payload), Frame(Opcode.BINARY, b"y")
    )
    assert read(data) == Read(b"x", CLOSED, code, reason, b"")
    assert read(data + b"\xff\xff\xff").news == CLOSED


BROKEN_FRAMES = [
    pytest.param(raw(0xC2, 0x80), PROTOCOL_ERROR, id="first reserved bit"),
    pytest.param(raw(0xA2, 0x80), PROTOCOL_ERROR, id="second reserved bit"),
    pytest.param(raw(0x92, 0x80), PROTOCOL_ERROR, id="third reserved bit"),
    pytest.param(b"\x82\x00", PROTOCOL_ERROR, id="not masked"),
    pytest.param(b"\x89\x00", PROTOCOL_ERROR, id="a ping that is not masked"),
    *[
        pytest.param(raw(0x80 | opcode, 0x80), PROTOCOL_ERROR, id=f"opcode {opcode}")
        for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)
    ],
    pytest.param(raw(0x80, 0x81, b"x"), PROTOCOL_ERROR, id="continuation alone"),
    pytest.param(raw(0x00, 0x81, b"x"), PROTOCOL_ERROR, id="continuation alone, not the last"),
    pytest.param(raw(0x02, 0x80) + raw(0x82, 0x80), PROTOCOL_ERROR, id="binary within binary"),
    pytest.param(raw(0x02, 0x80) + masked(HALF_CLOSE), PROTOCOL_ERROR, id="half-close within"),
    pytest.param(masked(HALF_CLOSE, HALF_CLOSE), PROTOCOL_ERROR, id="half-close twice"),
    pytest.param(masked(HALF_CLOSE) + raw(0x82, 0x80), PROTOCOL_ERROR, id="binary after its end"),
    pytest.param(raw(0x09, 0x80), PROTOCOL_ERROR, id="ping in fragments"),
    pytest.param(raw(0x08, 0x80), PROTOCOL_ERROR, id="close in fragments"),
    pytest.param(raw(0x89, 0xFE, b"\0\x7e" + bytes(126)), PROTOCOL_ERROR, id="long ping"),
    pytest.param(raw(0x88, 0xFF), PROTOCOL_ERROR, id="very long close"),
    pytest.param(masked(Frame(Opcode.CLOSE, b"\x03")), PROTOCOL_ERROR, id="half a code"),
    *[
        pytest.param(
            masked(Frame(Opcode.CLOSE, code.to_bytes(2, "big"))), PROTOCOL_ERROR, id=f"code {code}"
        )
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535)
    ],
    pytest.param(masked(Frame(Opcode.CLOSE, b"\x03\xe8\xff")), INVALID_PAYLOAD, id="no UTF-8"),
    pytest.param(b"\x82\xfe\x00\x7d" + KEY, PROTOCOL_ERROR, id="125 in two bytes"),
    pytest.param(b"\x82\xff" + (65535).to_bytes(8, "big"), PROTOCOL_ERROR, id="65535 in eight"),
    pytest.param(b"\x82\xff\x80" + bytes(7), PROTOCOL_ERROR, id="highest bit of a length"),
    pytest.param(b"\x82\xff" + (MAX_FRAME + 1).to_bytes(8, "big"), TOO_BIG, id="above 16 MiB"),
    pytest.param(b"\x82\xff\x7f" + b"\xff" * 7, TOO_BIG, id="the longest length"),
    pytest.param(masked(Frame(Opcode.TEXT, b"G")), UNSUPPORTED_DATA, id="another letter"),
    pytest.param(masked(Frame(Opcode.TEXT, b"FF")), UNSUPPORTED_DATA, id="two letters"),
    pytest.param(masked(Frame(Opcode.TEXT, b"")), UNSUPPORTED_DATA, id="empty text"),
    pytest.param(raw(0x01, 0x81, b"F"), UNSUPPORTED_DATA, id="text in fragments"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "code"), BROKEN_FRAMES)
def test_what_breaks_a_rule_ends_it_behind_the_payload(data: bytes, code: int) -> None:
    before = masked(Frame(Opcode.BINARY, b"before"))
    expected = read(before + data)
    assert (expected.payload, expected.news & ~ENDED, expected.code) == (b"before", BROKEN, code)
    assert expected.reason
    # Nothing that follows changes it.
    assert read(before + data + b"\x88\x00" + masked(Frame(Opcode.BINARY, b"x"))) == expected


def test_a_client_refuses_masks_and_reads_frames_without() -> None:
    assert read(masked(Frame(Opcode.BINARY, b"x")), False).code == PROTOCOL_ERROR
    data = Frame(Opcode.BINARY, b"x" * 300).serialize(mask=False)
    data += HALF_CLOSE.serialize(mask=False) + Frame(Opcode.PONG, b"123").serialize(mask=False)
    assert read(data, False) == Read(b"x" * 300, ENDED | PONGED, 0, "", b"")


def test_text_is_no_half_close_unless_that_was_agreed_on() -> None:
    assert read(masked(HALF_CLOSE), has_half_close=False).code == UNSUPPORTED_DATA


def test_a_frame_of_16_mib_is_read_and_never_held() -> None:
    reader = TunnelReader(True, False)
    assert reader.feed(b"\x82\xff" + MAX_FRAME.to_bytes(8, "big") + bytes(4)) == b""
    piece = bytes(65536)
    for _ in range(MAX_FRAME // len(piece)):
        assert reader.feed(piece) == piece
    assert reader.feed(masked(Frame(Opcode.BINARY, b"next"))) == b"next"
    assert not reader.news


def second_opinion(data: bytes) -> tuple[bytes, int | None, bool]:
    """Return the payload, the code of a Close, and whether a rule was broken, by `websockets`."""
    stream = StreamReader()
    stream.feed_data(data)
    payload = b""
    is_fragmented = False
    while True:
        parser = Frame.parse(stream.read_exact, mask=True, max_size=MAX_FRAME)
        try:
            next(parser)
        except StopIteration as done:
            frame: Frame = done.value
        except (ProtocolError, PayloadTooBig):
            return payload, None, True
        else:
            # There is no whole frame.
            return payload, None, False
        if frame.opcode in CTRL_OPCODES:
            if frame.opcode is Opcode.CLOSE:
                try:
                    return payload, Close.parse(frame.data).code, False
                except (ProtocolError, UnicodeDecodeError):
                    return payload, None, True
            continue
        # The rest of section 5.4 is not checked there.
        if frame.opcode is Opcode.TEXT or is_fragmented != (frame.opcode is Opcode.CONT):
            return payload, None, True
        is_fragmented = not frame.fin
        payload += bytes(frame.data)


def a_frame(opcodes: Sequence[Opcode], max_size: int) -> st.SearchStrategy[Frame]:
    return st.builds(Frame, st.sampled_from(opcodes), st.binary(max_size=max_size), st.booleans())


SOME_FRAMES = st.lists(
    st.one_of(
        a_frame([Opcode.BINARY, Opcode.CONT], 300),
        st.builds(Frame, st.sampled_from([Opcode.PING, Opcode.PONG]), st.binary(max_size=125)),
        st.builds(
            Frame, st.just(Opcode.CLOSE), st.sampled_from([b"", b"\x03\xe8", b"\x03\xe9bye", b"1"])
        ),
    ),
    max_size=8,
).map(lambda frames: masked(*frames))
CUTS = st.lists(st.integers(0, 2000), max_size=8)


def agree(data: bytes, cuts: Sequence[int], is_whole: bool) -> None:
    """Assert that both readers agree, where the bytes are whole frames."""
    pieces = split_at(data, [min(cut, len(data)) for cut in cuts])
    result = read_pieces(TunnelReader(True, False), pieces)
    payload, code, is_broken = second_opinion(data)
    if is_whole:
        assert result.payload == payload
    assert result.payload.startswith(payload)
    assert (result.code if result.news & CLOSED else None) == code
    assert (result.news & BROKEN != 0) == is_broken


@given(SOME_FRAMES, CUTS)
def test_websockets_reads_the_same(data: bytes, cuts: list[int]) -> None:
    agree(data, cuts, True)


def shortest_lengths(data: bytes) -> bool:
    """Return whether no length is longer than it has to be, which `websockets` does not check."""
    reader = TunnelReader(True, False)
    reader.feed(data)
    return "shortest" not in reader.reason


@given(SOME_FRAMES, CUTS, st.integers(0, 10_000), st.integers(0, 7), st.integers(0, 40))
def test_websockets_refuses_the_same(
    data: bytes, cuts: list[int], at: int, bit: int, lost: int
) -> None:
    changed = bytearray(data[: len(data) - lost])
    if changed:
        changed[at % len(changed)] ^= 1 << bit
    if shortest_lengths(bytes(changed)):
        result = read_pieces(TunnelReader(True, False), [bytes(changed)])
        _, code, is_broken = second_opinion(bytes(changed))
        # It may be that ours has seen the begin of a frame that theirs does not take for whole.
        assert not is_broken or result.news & BROKEN
        assert code is None or code == result.code
        again = split_at(bytes(changed), [min(cut, len(changed)) for cut in cuts])
        assert read_pieces(TunnelReader(True, False), again) == result


@given(st.binary(max_size=200), st.booleans(), st.booleans(), CUTS)
def test_any_bytes_split_in_any_way(
    data: bytes, is_masked: bool, has_half_close: bool, cuts: list[int]
) -> None:
    def new() -> TunnelReader:
        return TunnelReader(is_masked, has_half_close)

    whole = read_pieces(new(), [data])
    assert read_pieces(new(), split_at(data, [min(cut, len(data)) for cut in cuts])) == whole
