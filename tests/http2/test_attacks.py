"""Attacks on the protocol: each ends with the right code, and holds no memory."""

import tracemalloc

import pytest

from cmux_proxy.http1.head_limits import HeadLimits
from cmux_proxy.http2.error_codes import (
    CANCEL,
    ENHANCE_YOUR_CALM,
    STREAM_CLOSED,
)
from cmux_proxy.http2.http2_limits import (
    CONTROL_BURST,
    CONTROLS_PER_SECOND,
    MAX_UNTAKEN,
    RESET_BURST,
    RESETS_PER_SECOND,
    Http2Limits,
)
from tests.helpers.http2_client import Peer
from tests.helpers.http2_frames import GET, HEAD_LIMITS, POST, PROVOKING, frame, number, on_stream

CALM = (0, ENHANCE_YOUR_CALM)
RESETS = "too many streams are reset"
CONTROLS = "too many frames without a purpose"
BOMB = "a header list is far too large"


def rapid_resets(peer: Peer, first: int, count: int) -> int:
    """Open and reset streams until the connection ends; return how many were served."""
    block = peer.block(GET)
    for stream_id in range(first, first + 2 * count, 2):
        peer.feed(frame(1, 5, stream_id, block) + frame(3, 0, stream_id, number(CANCEL)))
        if peer.connection.is_over:
            return (stream_id - first) // 2
    return count


def test_rapid_reset_ends_the_connection_after_a_burst() -> None:
    peer = Peer()
    assert rapid_resets(peer, 1, RESET_BURST + 5) == RESET_BURST == 10_000
    assert peer.events[-1] == ("fault", *CALM, RESETS)
    last, code, reason = peer.goaway()
    assert (last, code, reason) == (2 * RESET_BURST + 1, ENHANCE_YOUR_CALM, RESETS.encode())


def test_resets_go_on_at_their_rate() -> None:
    peer = Peer()
    assert rapid_resets(peer, 1, RESET_BURST) == RESET_BURST
    peer.now = 1.0
    first = 2 * RESET_BURST + 1
    assert rapid_resets(peer, first, RESETS_PER_SECOND + 1) == RESETS_PER_SECOND == 200
    assert peer.connection.is_over


def test_hot_reload_may_reset_hundreds_of_requests_at_once() -> None:
    peer = Peer()
    for second in range(16):
        peer.now = second * 5.0
        assert rapid_resets(peer, 1 + 1600 * second, 800) == 800


def test_resets_of_streams_that_are_over_do_not_count() -> None:
    peer = Peer()
    peer.open(1, is_last=True)
    peer.respond(1)
    for _ in range(RESET_BURST + 5):
        peer.feed(frame(3, 0, 1, number(CANCEL)))
    assert not peer.connection.is_over


@pytest.mark.parametrize(("provoking", "code"), PROVOKING.values(), ids=PROVOKING)
def test_resets_that_the_client_provokes_have_the_same_budget(provoking: bytes, code: int) -> None:
    peer = Peer()
    block = peer.block(POST)
    stream_id = -1
    while not peer.connection.is_over:
        stream_id += 2
        peer.feed(frame(1, 4, stream_id, block) + on_stream(stream_id, provoking))
        if stream_id < 1000:
            assert peer.resets() == [(stream_id, code)]
    assert stream_id == 2 * RESET_BURST + 1
    assert peer.events[-1] == ("fault", *CALM, RESETS)


def test_both_kinds_of_resets_share_the_budget() -> None:
    peer = Peer()
    assert rapid_resets(peer, 1, RESET_BURST // 2) == RESET_BURST // 2
    for stream_id in range(RESET_BURST + 1, 2 * RESET_BURST + 1, 2):
        peer.feed(peer.headers(stream_id, [(b":bad", b"")]))
    assert not peer.connection.is_over
    peer.connection.reset(peer.open(2 * RESET_BURST + 1), CANCEL)
    assert peer.events == [("fault", *CALM, RESETS)]


def test_data_after_the_end_of_its_stream_counts_as_a_reset() -> None:
    peer = Peer()
    peer.open(1, is_last=True)
    peer.respond(1)
    data = frame(0, 0, 1, b"a")
    peer.feed(data)
    assert peer.resets() == [(1, STREAM_CLOSED)]
    # While that reset may be on its way, more of it is ignored.
    peer.feed(data * 100)
    assert peer.sent() == []


@pytest.mark.parametrize(
    "data",
    [
        frame(4, 0, 0),
        frame(4, 0, 0, (b"\0\4" + number(1) + b"\0\4" + number(65_535)) * 50),
        frame(6, 0, 0, bytes(8)),
        frame(0, 0, 1),
        frame(0, 8, 1, b"\x03" + bytes(3)),
    ],
    ids=["settings", "long-settings", "ping", "empty-data", "padding"],
)
def test_floods_of_frames_without_a_purpose_end_the_connection(data: bytes) -> None:
    peer = Peer()
    peer.open(1)
    # The first SETTINGS frame has counted.
    peer.feed(data * (CONTROL_BURST - 1))
    assert not peer.connection.is_over
    assert CONTROL_BURST == 1000
    peer.now = 1.0
    peer.feed(data * CONTROLS_PER_SECOND)
    assert not peer.connection.is_over
    peer.feed(data)
    assert peer.events[-1] == ("fault", *CALM, CONTROLS)
    assert peer.goaway()[1:] == (ENHANCE_YOUR_CALM, CONTROLS.encode())


def test_all_frames_without_a_purpose_share_one_budget() -> None:
    peer = Peer()
    peer.open(1)
    kinds = [frame(4, 0, 0), frame(6, 0, 0, bytes(8)), frame(0, 0, 1)]
    peer.feed(b"".join(kinds) * (CONTROL_BURST // 3))
    assert not peer.connection.is_over
    peer.feed(kinds[0])
    assert peer.connection.is_over


def test_empty_data_on_a_stream_that_is_over_counts_too() -> None:
    peer = Peer()
    peer.connection.reset(peer.open(1), CANCEL)
    peer.feed(frame(0, 0, 1) * (CONTROL_BURST + 1))
    assert peer.events[-1] == ("fault", *CALM, CONTROLS)


def test_acknowledgements_and_the_ends_of_bodies_do_not_count() -> None:
    peer = Peer()
    peer.feed(frame(4, 1, 0) * 2000, frame(6, 1, 0, bytes(8)) * 2000)
    for stream_id in range(1, 4001, 2):
        peer.open(stream_id)
        peer.feed(frame(0, 1, stream_id))
        peer.respond(stream_id)
    assert not peer.connection.is_over


def test_answers_do_not_pile_up_for_a_client_that_does_not_read() -> None:
    peer = Peer()
    while peer.connection.may_read():
        peer.now += 1.0
        peer.feed(frame(6, 0, 0, bytes(8)) * CONTROLS_PER_SECOND)
    assert not peer.connection.is_over
    assert len(peer.sent_bytes()) < MAX_UNTAKEN + 18 * CONTROLS_PER_SECOND


def test_a_header_bomb_of_references_ends_the_connection() -> None:
    peer = Peer()
    value = b"v" * 3900
    start = peer.block([*GET, (b"x", value)])
    peer.feed(frame(1, 5, 1, start))
    assert peer.events[0][0] == "request"
    # Each byte stands for 3,900.
    peer.feed(frame(1, 5, 3, peer.block(GET) + b"\xbe" * 16_000))
    assert peer.events == [("fault", *CALM, BOMB)]
    assert peer.goaway()[1] == ENHANCE_YOUR_CALM


@pytest.mark.parametrize("name", [b"cookie", b"a"])
def test_a_header_bomb_of_many_small_fields_ends_the_connection(name: bytes) -> None:
    peer = Peer()
    peer.feed(frame(1, 5, 1, peer.block([*GET, (name, b"")])))
    assert peer.events[0][0] == "request"
    peer.feed(frame(1, 5, 3, peer.block(GET) + b"\xbe" * 16_000))
    assert peer.events == [("fault", *CALM, BOMB)]


def test_a_list_a_little_too_large_gets_a_response() -> None:
    peer = Peer(Http2Limits(HeadLimits(1000, 1000, 20)))
    peer.feed(peer.headers(1, [*GET, *[(b"cookie", b"a")] * 30]))
    reason = "the header section is too large"
    assert peer.events == [("bad request", 1, 431, reason)]


def test_a_bomb_takes_little_memory() -> None:
    peers = [Peer() for _ in range(100)]
    bombs = []
    for peer in peers:
        peer.feed(frame(1, 5, 1, peer.block([*GET, (b"x", b"v" * 3900)])))
        bombs.append(frame(1, 5, 3, peer.block(GET) + b"\xbe" * 16_000))
    assert sum(map(len, bombs)) > 1_600_000
    tracemalloc.start()
    try:
        for peer, bomb in zip(peers, bombs, strict=True):
            peer.feed(bomb)
            peer.sent_bytes()
        _now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert all(peer.connection.is_over for peer in peers)
    assert peak < 2 * 1024 * 1024


def test_a_window_that_is_never_opened_holds_a_bounded_part_of_responses() -> None:
    peer = Peer()
    peer.feed(frame(4, 0, 0, b"\0\4" + number(0)))
    streams = [peer.open(stream_id, is_last=True) for stream_id in range(1, 201, 2)]
    piece = bytes(65_536)
    for stream in streams:
        if not stream.is_blocked:
            peer.connection.send_data(stream, piece, False)
    peer.sent()
    assert all(stream.is_blocked for stream in streams)
    assert peer.connection.pending_size() <= 1_048_576 + len(piece)


def test_many_settings_of_the_window_in_one_frame_are_one_change() -> None:
    peer = Peer()
    for stream_id in range(1, 201, 2):
        peer.open(stream_id)
    changes = b"".join(b"\0\4" + number(value) for value in range(2000))
    peer.feed(frame(4, 0, 0, changes))
    assert {stream.send_window for stream in peer.owner.streams.values()} == {1999}


def test_limits_hold_for_a_client_with_other_streams() -> None:
    peer = Peer(Http2Limits(HEAD_LIMITS, streams=1))
    peer.open(1)
    block = peer.block(GET)
    stream_id = 1
    while not peer.connection.is_over:
        stream_id += 2
        peer.feed(frame(1, 5, stream_id, block))
    assert stream_id == 2 * RESET_BURST + 3
