"""Which streams are to send no more for now, and when they may go on."""

from cmux_proxy.http2.error_codes import CANCEL
from cmux_proxy.http2.frame_types import FRAME_SIZE
from cmux_proxy.http2.http2_limits import MAX_PENDING, MAX_UNTAKEN, MIN_ROOM
from tests.helpers.http2_client import OK_HEAD, Peer
from tests.helpers.http2_frames import Frame, content, frame, number, window_setting

WINDOW = 65_535


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
    assert peer.connection.has_work()
    peer.sent()
    assert peer.connection.pending_size() == 10
    peer.feed(frame(3, 0, 1, number(CANCEL)))
    assert peer.connection.pending_size() == 0
