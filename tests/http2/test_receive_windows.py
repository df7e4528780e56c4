"""Windows for what a client sends (RFC 9113 section 5.2)."""

from cmux_proxy.http2.error_codes import CANCEL, FLOW_CONTROL_ERROR
from cmux_proxy.http2.frame_types import FRAME_SIZE
from cmux_proxy.http2.http2_limits import Http2Limits
from tests.helpers.http2_client import Peer
from tests.helpers.http2_frames import HEAD_LIMITS, POST, frame, number, updates

WINDOW = 65_535
CONNECTION_WINDOW = 1_048_576


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


def test_the_window_of_a_request_is_not_that_of_another() -> None:
    peer = Peer()
    first = peer.open(1)
    peer.feed(peer.headers(3, POST, False), frame(0, 0, 1, bytes(FRAME_SIZE)) * 3)
    peer.feed(frame(0, 0, 3, bytes(100)))
    peer.connection.consume(first, 3 * FRAME_SIZE)
    assert updates(peer.sent()) == [(1, 3 * FRAME_SIZE)]
