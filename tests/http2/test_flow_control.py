"""Windows in both directions (RFC 9113 section 5.2), and back-pressure towards the owner."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmux_proxy.http2.error_codes import CANCEL, FLOW_CONTROL_ERROR
from cmux_proxy.http2.frame_types import FRAME_SIZE
from cmux_proxy.http2.http2_limits import MAX_PENDING, MAX_UNTAKEN, MIN_ROOM, Http2Limits
from tests.helpers.http2_client import OK_HEAD, Peer
from tests.helpers.http2_frames import HEAD_LIMITS, POST, Frame, frame, number, read_frames

WINDOW = 65_535
CONNECTION_WINDOW = 1_048_576
BODY = bytes(range(256)) * 1024


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


# What the client sends


def test_a_window_is_given_back_for_what_is_consumed() -> None:
    peer = Peer()
    stream = peer.open(1)
    for _ in range(4):
        peer.feed(frame(0, 0, 1, bytes(16_000)))
    assert stream.held == 64_000
    assert peer.sent() == []
    peer.connection.consume(stream, 10_000)
    assert updates(peer.sent()) == [(1, 10_000)]
    peer.connection.consume(stream, 54_000)
    assert updates(peer.sent()) == [(1, 54_000)]
    assert stream.held == 0


def test_a_little_is_not_given_back_alone() -> None:
    peer = Peer()
    stream = peer.open(1)
    for _ in range(3):
        peer.feed(frame(0, 0, 1, bytes(10_000)))
        peer.connection.consume(stream, 10_000)
    assert peer.sent() == []
    peer.feed(frame(0, 0, 1, bytes(10_000)))
    peer.connection.consume(stream, 10_000)
    assert updates(peer.sent()) == [(1, 40_000)]


def test_no_more_is_given_back_than_was_held() -> None:
    peer = Peer()
    stream = peer.open(1)
    peer.feed(frame(0, 0, 1, bytes(FRAME_SIZE)) * 2)
    peer.connection.consume(stream, 1_000_000)
    peer.connection.consume(stream, 1_000_000)
    assert updates(peer.sent()) == [(1, 2 * FRAME_SIZE)]


def test_the_window_of_a_request_that_has_ended_is_not_given_back() -> None:
    peer = Peer()
    stream = peer.open(1)
    peer.feed(frame(0, 0, 1, bytes(FRAME_SIZE)) * 2 + frame(0, 1, 1, bytes(FRAME_SIZE)))
    peer.connection.consume(stream, 3 * FRAME_SIZE)
    assert peer.sent() == []


def test_padding_is_given_back_by_itself() -> None:
    peer = Peer()
    stream = peer.open(1)
    for _ in range(130):
        peer.feed(frame(0, 8, 1, b"\xff" + bytes(255)))
    assert stream.held == 0
    assert updates(peer.sent()) == [(1, 128 * 256)]


def test_more_than_the_window_of_a_stream_resets_it() -> None:
    peer = Peer()
    peer.open(1)
    peer.feed(frame(0, 0, 1, bytes(FRAME_SIZE)) * 3, frame(0, 0, 1, bytes(FRAME_SIZE - 1)))
    assert len(peer.events) == 4
    peer.feed(frame(0, 0, 1, b"a"))
    rule = "DATA is larger than the stream's window"
    assert peer.events == [("reset", 1, FLOW_CONTROL_ERROR, rule)]
    assert peer.resets() == [(1, FLOW_CONTROL_ERROR)]


def test_more_than_the_window_of_the_connection_ends_it() -> None:
    peer = Peer(Http2Limits(HEAD_LIMITS, connection_window=WINDOW))
    peer.open(1)
    peer.open(3)
    peer.feed(frame(0, 0, 1, bytes(FRAME_SIZE)) * 3, frame(0, 0, 3, bytes(FRAME_SIZE - 1)))
    assert len(peer.events) == 4
    peer.feed(frame(0, 0, 3, b"a"))
    rule = "DATA is larger than the window of the connection"
    assert peer.events == [("fault", 0, FLOW_CONTROL_ERROR, rule)]


def test_what_a_connection_holds_is_bounded_and_one_stream_stops_no_other() -> None:
    peer = Peer()
    sizes = [FRAME_SIZE] * 3 + [FRAME_SIZE - 1]
    stream_ids = range(1, 33, 2)
    for stream_id in stream_ids:
        peer.open(stream_id)
        peer.feed(*(frame(0, 0, stream_id, bytes(size)) for size in sizes))
    assert peer.connection.count_streams() == 16
    # 16 bytes are left; what is consumed comes back at once.
    assert peer.sent() == []
    peer.connection.consume(peer.owner.streams[1], 100)
    assert updates(peer.sent()) == [(0, 100), (1, 100)]


def test_a_stream_that_held_nothing_gives_nothing_back() -> None:
    peer = Peer(Http2Limits(HEAD_LIMITS, connection_window=WINDOW))
    peer.open(1)
    peer.open(3)
    peer.feed(frame(0, 0, 1, bytes(FRAME_SIZE)) * 3, frame(0, 0, 1, bytes(FRAME_SIZE - 1)))
    peer.feed(frame(3, 0, 3, number(CANCEL)))
    assert peer.sent() == []


def test_what_a_stream_held_comes_back_when_it_ends() -> None:
    peer = Peer()
    for stream_id in range(1, 33, 2):
        peer.open(stream_id)
        peer.feed(frame(0, 0, stream_id, bytes(FRAME_SIZE)) * 3)
    assert peer.sent() == []
    for stream_id in range(1, 33, 2):
        peer.feed(frame(3, 0, stream_id, number(CANCEL)))
    back = sum(increment for _stream, increment in updates(peer.sent()))
    assert back > CONNECTION_WINDOW // 2


def test_data_that_no_stream_wants_is_given_back() -> None:
    peer = Peer()
    peer.connection.reset(peer.open(1), CANCEL)
    peer.sent()
    total = 0
    for _ in range(200):
        peer.feed(frame(0, 0, 1, bytes(FRAME_SIZE)))
        total += sum(increment for _stream, increment in updates(peer.sent()))
    assert total > 200 * FRAME_SIZE - CONNECTION_WINDOW // 4
    assert peer.events == []


def test_endless_bodies_flow_as_long_as_they_are_consumed() -> None:
    peer = Peer()
    stream = peer.open(1)
    room = {0: CONNECTION_WINDOW, 1: WINDOW}
    for _ in range(300):
        size = min(FRAME_SIZE, *room.values())
        assert size > 0, "the client is stuck"
        peer.feed(frame(0, 0, 1, bytes(size)))
        room = {key: value - size for key, value in room.items()}
        peer.connection.consume(stream, size)
        for key, increment in updates(peer.sent()):
            room[key] += increment
    assert room[0] <= CONNECTION_WINDOW
    assert room[1] <= WINDOW


# What the client is sent


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


# Back-pressure


def test_a_blocked_stream_is_unblocked_when_all_is_sent() -> None:
    peer = Peer()
    stream = peer.open(1, is_last=True)
    peer.connection.send_data(stream, bytes(WINDOW + 10), False)
    assert peer.events == []
    peer.sent()
    assert peer.events == [("blocked", 1)]
    peer.feed(frame(8, 0, 0, number(100)), frame(8, 0, 1, number(5)))
    peer.sent()
    assert peer.events == []
    peer.feed(frame(8, 0, 1, number(5)))
    peer.sent()
    assert peer.events == [("unblocked", 1)]


def test_a_stream_that_ends_is_not_unblocked() -> None:
    peer = Peer()
    peer.feed(window_setting(0))
    streams = [peer.open(1, is_last=True), peer.open(3)]
    for stream in streams:
        peer.connection.send_data(stream, b"abc", False)
    peer.sent()
    assert peer.events == [("blocked", 1), ("blocked", 3)]
    for stream in streams:
        peer.connection.send_data(stream, b"", True)
    peer.feed(window_setting(WINDOW))
    assert [sent[:3] for sent in peer.sent()][-2:] == [(0, 1, 1), (0, 1, 3)]
    assert peer.events == [("closed", 1)]


def test_a_transport_that_is_full_blocks_the_streams_that_send() -> None:
    peer = Peer()
    first, second, third = peer.open(1), peer.open(3), peer.open(5)
    peer.connection.send_data(first, bytes(FRAME_SIZE + 1), False)
    peer.connection.send_data(third, b"abc", False)
    peer.connection.pause_writing()
    # What the third has sent is a frame already.
    assert peer.events == [("blocked", 1)]
    peer.connection.send_data(second, b"abc", False)
    peer.connection.send_data(second, b"abc", False)
    assert peer.events == [("blocked", 3)]
    peer.connection.resume_writing()
    assert [sent.stream_id for sent in peer.sent()] == [5, 1, 1, 3, 3]
    assert peer.events == [("unblocked", 1), ("unblocked", 3)]


def test_the_end_of_a_body_blocks_nothing() -> None:
    peer = Peer()
    stream = peer.open(1, is_last=True)
    peer.connection.pause_writing()
    peer.connection.send_data(stream, b"", True)
    assert peer.events == []
    peer.connection.resume_writing()
    assert peer.sent() == [Frame(0, 1, 1, b"")]


def test_nothing_to_send_is_no_frame() -> None:
    peer = Peer()
    stream = peer.open(1, is_last=True)
    peer.connection.send_data(stream, b"", False)
    assert peer.sent() == []


def test_what_is_sent_waits_for_what_waits() -> None:
    peer = Peer()
    peer.feed(window_setting(3))
    peer.sent()
    stream = peer.open(1, is_last=True)
    peer.connection.send_data(stream, b"abcd", False)
    peer.connection.send_data(stream, b"e", False)
    assert content(peer.sent(), 1) == b"abc"
    peer.feed(frame(8, 0, 1, number(1)))
    peer.connection.send_data(stream, b"f", True)
    assert content(peer.sent(), 1) == b"d"
    peer.feed(frame(8, 0, 1, number(2)))
    assert [sent[:2] for sent in peer.sent()] == [(0, 0), (0, 1)]


def test_too_much_that_waits_blocks_streams_without_a_window() -> None:
    peer = Peer()
    peer.feed(window_setting(0))
    streams = [peer.open(stream_id) for stream_id in (1, 3, 5)]
    peer.connection.send_data(streams[0], bytes(MAX_PENDING), False)
    assert peer.events == []
    peer.connection.send_data(streams[1], b"a", False)
    assert peer.events == [("blocked", 1), ("blocked", 3), ("blocked", 5)]
    peer.connection.send_data(streams[2], b"a", False)
    peer.sent()
    assert peer.events == []
    late = peer.open(7, is_last=True)
    peer.connection.send_head(late, OK_HEAD, False)
    assert peer.events == [("blocked", 7)]
    peer.connection.reset(late, CANCEL)
    peer.feed(frame(8, 0, 5, number(1)))
    peer.sent()
    # Its own byte is sent, but the connection has no room.
    assert peer.events == []
    peer.feed(frame(3, 0, 1, number(CANCEL)))
    assert peer.events == [("reset", 1, CANCEL, ""), ("unblocked", 5)]
    peer.feed(frame(8, 0, 3, number(1)))
    peer.sent()
    assert peer.events == [("unblocked", 3)]


def test_too_much_that_waits_does_not_stop_streams_with_a_window() -> None:
    peer = Peer()
    peer.feed(window_setting(0), frame(8, 0, 0, number(1_000_000)))
    stalled, flowing, short = [peer.open(stream_id) for stream_id in (1, 3, 5)]
    peer.feed(frame(8, 0, 3, number(MIN_ROOM)), frame(8, 0, 5, number(MIN_ROOM - 1)))
    peer.connection.send_data(stalled, bytes(MAX_PENDING + 1), False)
    assert peer.events == [("blocked", 1), ("blocked", 5)]
    peer.connection.send_data(flowing, b"abc", False)
    assert content(peer.sent(), 3) == b"abc"
    assert peer.events == []
    peer.feed(frame(8, 0, 5, number(1)))
    peer.sent()
    assert peer.events == [("unblocked", 5)]
    peer.connection.send_data(short, bytes(MIN_ROOM + 1), False)
    assert len(content(peer.sent(), 5)) == MIN_ROOM
    assert peer.events == [("blocked", 5)]


def test_a_reset_of_the_owner_makes_room_too() -> None:
    peer = Peer()
    peer.feed(window_setting(0))
    first, _second = peer.open(1), peer.open(3)
    peer.connection.send_data(first, bytes(MAX_PENDING + 1), False)
    assert peer.events == [("blocked", 1), ("blocked", 3)]
    peer.connection.reset(first, CANCEL)
    assert peer.events == [("unblocked", 3)]


def test_a_client_that_does_not_read_is_not_read() -> None:
    peer = Peer()
    stream = peer.open(1, is_last=True)
    assert peer.connection.may_read()
    while peer.connection.may_read():
        peer.connection.send_head(stream, b"HTTP/1.1 103 Hints\r\nx: y\r\n\r\n", False)
    assert MAX_UNTAKEN < len(peer.sent_bytes()) < MAX_UNTAKEN + 100
    assert peer.connection.may_read()


def test_what_waits_is_counted() -> None:
    peer = Peer()
    stream = peer.open(1)
    peer.connection.send_data(stream, bytes(WINDOW + 10), False)
    assert peer.connection.pending_size() == WINDOW + 10
    assert peer.connection.has_frames()
    peer.sent()
    assert peer.connection.pending_size() == 10
    peer.feed(frame(3, 0, 1, number(CANCEL)))
    assert peer.connection.pending_size() == 0


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


def test_the_window_of_a_request_is_not_that_of_another() -> None:
    peer = Peer()
    first = peer.open(1)
    peer.feed(peer.headers(3, POST, False), frame(0, 0, 1, bytes(FRAME_SIZE)) * 3)
    peer.feed(frame(0, 0, 3, bytes(100)))
    peer.connection.consume(first, 3 * FRAME_SIZE)
    assert updates(peer.sent()) == [(1, 3 * FRAME_SIZE)]
