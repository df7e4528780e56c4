"""Windows for what a client is sent (RFC 9113 section 5.2)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmux_proxy.http2.error_codes import FLOW_CONTROL_ERROR
from cmux_proxy.http2.frame_types import FRAME_SIZE
from cmux_proxy.http2.http2_limits import MAX_UNTAKEN
from tests.helpers.http2_client import OK_HEAD, Peer
from tests.helpers.http2_frames import (
    Frame,
    content,
    frame,
    number,
    read_frames,
    window_setting,
)

WINDOW = 65_535
BODY = bytes(range(256)) * 1024


def test_a_body_is_cut_at_the_window_and_goes_on_with_it() -> None:
    peer = Peer()
    stream = peer.open(1, is_last=True)
    peer.connection.send_head(stream, OK_HEAD, False)
    peer.connection.send_data(stream, BODY, True)
    frames = peer.sent()
    assert content(frames, 1) == BODY[:WINDOW]
    assert all(len(sent.payload) <= FRAME_SIZE for sent in frames)
    # The owner has no more to send.
    assert peer.events == []
    peer.feed(frame(8, 0, 1, number(100)))
    assert peer.sent() == []
    peer.feed(frame(8, 0, 0, number(1_000_000)))
    assert content(peer.sent(), 1) == BODY[WINDOW : WINDOW + 100]
    peer.feed(frame(8, 0, 1, number(1_000_000)))
    rest = peer.sent()
    assert content(rest, 1) == BODY[WINDOW + 100 :]
    assert [sent.flags for sent in rest] == [0] * (len(rest) - 1) + [1]
    assert peer.events == [("closed", 1)]


@pytest.mark.parametrize("times", [1, 20])
def test_a_whole_response_is_two_frames(times: int) -> None:
    peer = Peer()
    for stream_id in range(1, 2 * times, 2):
        stream = peer.open(stream_id, is_last=True)
        peer.connection.send_response(stream, OK_HEAD, b"body")
        head, body = peer.sent()
        assert (head.kind, head.flags, head.stream_id) == (1, 4, stream_id)
        assert peer.decoded(head.payload) == [(b":status", b"200")]
        assert body == Frame(0, 1, stream_id, b"body")
        assert peer.events == [("closed", stream_id)]


def test_a_whole_response_uses_windows() -> None:
    peer = Peer()
    peer.feed(window_setting(6))
    peer.sent()
    stream = peer.open(1, is_last=True)
    peer.connection.send_response(stream, OK_HEAD, b"abcd")
    assert content(peer.sent(), 1) == b"abcd"
    # One byte more than the window of this stream.
    other = peer.open(3, is_last=True)
    peer.connection.send_response(other, OK_HEAD, b"1234567")
    assert [sent[:3] for sent in peer.sent()] == [(1, 4, 3), (0, 0, 3)]
    peer.feed(frame(8, 0, 3, number(1)))
    assert peer.sent() == [Frame(0, 1, 3, b"7")]
    # What both have taken of the window of the connection is gone.
    peer.feed(window_setting(WINDOW))
    last = peer.open(5, is_last=True)
    peer.connection.send_data(last, bytes(WINDOW), False)
    assert len(content(peer.sent(), 5)) == WINDOW - 4 - 7


@pytest.mark.parametrize("left", [0, 3])
def test_a_whole_response_needs_the_window_of_the_connection_too(left: int) -> None:
    peer = Peer()
    stream, other = peer.open(1, is_last=True), peer.open(3, is_last=True)
    peer.connection.send_data(other, bytes(WINDOW - left), False)
    peer.sent()
    peer.connection.send_response(stream, OK_HEAD, b"abcd")
    assert content(peer.sent(), 1) == b"abcd"[:left]
    peer.feed(frame(8, 0, 0, number(100)))
    assert content(peer.sent(), 1) == b"abcd"[left:]


def test_a_whole_response_waits_for_a_transport_that_is_full() -> None:
    peer = Peer()
    stream = peer.open(1, is_last=True)
    peer.connection.pause_writing()
    peer.connection.send_response(stream, OK_HEAD, b"abcd")
    # The owner has no more to send.
    assert peer.events == []
    assert peer.connection.pending_size() == 4
    peer.connection.resume_writing()
    assert content(peer.sent(), 1) == b"abcd"


@pytest.mark.parametrize("is_reset", [True, False])
def test_a_whole_response_for_a_stream_that_is_over_is_dropped(is_reset: bool) -> None:
    peer = Peer()
    stream = peer.open(1, is_last=True)
    if is_reset:
        peer.feed(frame(3, 0, 1, number(8)))
    else:
        peer.respond(1)
    peer.connection.send_response(stream, OK_HEAD, b"abcd")
    assert peer.sent() == []


def test_whole_responses_that_wait_for_the_client_count_as_far_as_they_are_heads() -> None:
    peer = Peer()
    stream = peer.open(1, is_last=True)
    peer.connection.send_response(stream, OK_HEAD, bytes(2048))
    head_size = len(read_frames(peer.sent_bytes())[0].payload) + 9
    streams = [peer.open(number, is_last=True) for number in range(3, 203, 2)]
    peer.feed(frame(8, 0, 0, number(1_000_000)))
    for other in streams:
        peer.connection.send_response(other, OK_HEAD, bytes(2048))
    assert 100 * head_size < MAX_UNTAKEN < 100 * 2048
    assert peer.connection.may_read()


def test_a_small_initial_window_is_used_up() -> None:
    peer = Peer()
    peer.feed(window_setting(1))
    stream = peer.open(1, is_last=True)
    peer.connection.send_data(stream, b"abc", False)
    assert content(peer.sent(), 1) == b"a"
    peer.feed(frame(8, 0, 1, number(1)))
    assert content(peer.sent(), 1) == b"b"


def test_a_setting_changes_the_windows_of_open_streams() -> None:
    peer = Peer()
    stream = peer.open(1, is_last=True)
    peer.connection.send_data(stream, bytes(60_000), False)
    assert len(content(peer.sent(), 1)) == 60_000
    peer.feed(window_setting(50_000))
    peer.connection.send_data(stream, b"abcdefgh", True)
    # The window is negative now (RFC 9113 section 6.9.2).
    assert content(peer.sent(), 1) == b""
    peer.feed(frame(8, 0, 1, number(10_000)))
    assert content(peer.sent(), 1) == b""
    peer.feed(window_setting(50_005))
    assert content(peer.sent(), 1) == b"abcde"
    peer.feed(frame(8, 0, 1, number(100)))
    assert peer.sent() == [Frame(0, 1, 1, b"fgh")]


def test_the_end_of_a_response_needs_no_window() -> None:
    peer = Peer()
    peer.feed(window_setting(0))
    first, second = peer.open(1, is_last=True), peer.open(3, is_last=True)
    peer.connection.send_data(first, b"", True)
    peer.connection.send_trailers(second, b"a: b\r\n")
    assert [sent[:3] for sent in peer.sent()][-2:] == [(0, 1, 1), (1, 5, 3)]


def test_trailers_wait_for_the_body() -> None:
    peer = Peer()
    peer.feed(window_setting(2))
    stream = peer.open(1, is_last=True)
    peer.connection.send_data(stream, b"abc", False)
    peer.connection.send_trailers(stream, b"a: b\r\n")
    assert [sent.kind for sent in peer.sent()] == [4, 0]
    peer.feed(frame(8, 0, 1, number(9)))
    assert [sent[:2] for sent in peer.sent()] == [(0, 0), (1, 5)]


@pytest.mark.parametrize("stream_id", [0, 1])
def test_a_window_that_grows_too_large(stream_id: int) -> None:
    peer = Peer()
    peer.open(1)
    peer.feed(frame(8, 0, stream_id, number(0x7FFFFFFF - WINDOW)))
    assert peer.events == []
    peer.feed(frame(8, 0, stream_id, number(1)))
    rule = "a window grows too large"
    name = "reset" if stream_id else "fault"
    assert peer.events == [(name, stream_id, FLOW_CONTROL_ERROR, rule)]


def test_a_setting_that_makes_a_window_too_large_ends_the_connection() -> None:
    peer = Peer()
    peer.open(1)
    peer.feed(frame(8, 0, 1, number(1)), window_setting(0x7FFFFFFF))
    assert peer.events == [("fault", 0, FLOW_CONTROL_ERROR, "a window grows too large")]


def test_streams_take_turns_at_the_window_of_the_connection() -> None:
    peer = Peer()
    peer.feed(frame(4, 0, 0, b"\0\4" + number(1_000_000)))
    for stream_id in (1, 3, 5):
        peer.connection.send_data(peer.open(stream_id, is_last=True), bytes(WINDOW), False)
    firsts = [peer.sent()]
    for _ in range(2):
        peer.feed(frame(8, 0, 0, number(1000)))
        firsts.append(peer.sent())
    shares = [[len(content(frames, stream_id)) for stream_id in (1, 3, 5)] for frames in firsts]
    assert shares == [[WINDOW, 0, 0], [0, 1000, 0], [0, 0, 1000]]


def test_a_small_body_needs_the_window_of_the_connection_too() -> None:
    peer = Peer()
    first, second = peer.open(1, is_last=True), peer.open(3, is_last=True)
    peer.connection.send_data(first, bytes(WINDOW - 2), False)
    peer.sent()
    peer.connection.send_data(second, b"abc", True)
    assert content(peer.sent(), 3) == b"ab"
    peer.feed(frame(8, 0, 0, number(1)))
    assert peer.sent() == [Frame(0, 1, 3, b"c")]


def test_large_bodies_are_not_copied() -> None:
    peer = Peer()
    stream = peer.open(1, is_last=True)
    body = bytes(40_000)
    peer.connection.send_data(stream, body, False)
    pieces = peer.connection.take_frames()
    views = [piece for piece in pieces if isinstance(piece, memoryview)]
    assert [view.obj is body for view in views] == [True, True, True]
    view = memoryview(body)[5:]
    peer.connection.send_data(stream, view[:50], False)
    assert peer.sent() == [Frame(0, 0, 1, bytes(50))]
    small = b"small"
    peer.connection.send_data(stream, small, False)
    assert peer.connection.take_frames()[1] is small


STEPS = st.one_of(
    st.tuples(st.just("send"), st.integers(0, 3), st.integers(1, 40_000)),
    st.tuples(st.just("window"), st.integers(0, 4), st.integers(1, 30_000)),
    st.tuples(st.just("setting"), st.just(0), st.integers(0, 70_000)),
    st.tuples(st.just("take"), st.just(0), st.just(0)),
    st.tuples(st.just("end"), st.integers(0, 3), st.just(0)),
)


@given(st.lists(STEPS, max_size=40))
def test_a_client_never_gets_more_than_its_windows_and_all_in_the_end(
    steps: list[tuple[str, int, int]],
) -> None:
    peer = Peer()
    streams = {stream_id: peer.open(stream_id, is_last=True) for stream_id in (1, 3, 5, 7)}
    windows = dict.fromkeys((0, 1, 3, 5, 7), WINDOW)
    initial = WINDOW
    expected = dict.fromkeys(streams, b"")
    received = dict.fromkeys(streams, b"")
    ended: set[int] = set()
    settings: list[int] = []

    def take() -> None:
        nonlocal initial
        for sent in read_frames(peer.sent_bytes()):
            if sent.kind == 4:
                # From its acknowledgement on, a setting counts for what is sent.
                value = settings.pop(0)
                for key in streams:
                    windows[key] += value - initial
                initial = value
            elif sent.kind == 0:
                windows[0] -= len(sent.payload)
                windows[sent.stream_id] -= len(sent.payload)
                assert not sent.payload or min(windows[0], windows[sent.stream_id]) >= 0
                received[sent.stream_id] += sent.payload
                if sent.flags & 1:
                    ended.add(sent.stream_id)

    finished: set[int] = set()
    for kind, which, value in steps:
        stream_id = 2 * which + 1
        if kind == "send" and stream_id not in finished:
            data = bytes([stream_id]) * value
            expected[stream_id] += data
            peer.connection.send_data(streams[stream_id], data, False)
        elif kind == "end" and stream_id not in finished:
            finished.add(stream_id)
            peer.connection.send_data(streams[stream_id], b"", True)
        elif kind == "window":
            key = 0 if which == 4 else stream_id
            windows[key] += value
            peer.feed(frame(8, 0, key, number(value)))
        elif kind == "setting":
            settings.append(value)
            peer.feed(window_setting(value))
        elif kind == "take":
            take()
    for key in windows:
        windows[key] += 3_000_000
        peer.feed(frame(8, 0, key, number(3_000_000)))
    take()
    assert received == expected
    assert ended == finished
