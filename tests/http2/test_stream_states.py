"""What frames mean in the state of their stream, and how streams end (RFC 9113 section 5.1)."""

import pytest

from cmux_proxy.http2.error_codes import (
    CANCEL,
    INTERNAL_ERROR,
    PROTOCOL_ERROR,
    STREAM_CLOSED,
)
from cmux_proxy.http2.http2_limits import MAX_RESET_STREAMS
from tests.helpers.http2_client import OK_HEAD, Peer
from tests.helpers.http2_frames import (
    GET,
    GET_HEAD,
    frame,
    number,
)

IDLE = "is on a stream that was not opened"
NO_WINDOW = frame(4, 0, 0, b"\0\4" + number(0))


def test_a_reset_of_the_client_ends_the_stream() -> None:
    peer = Peer()
    peer.feed(NO_WINDOW)
    peer.sent()
    stream = peer.open(1)
    peer.connection.send_head(stream, OK_HEAD, False)
    peer.connection.send_data(stream, b"abc", False)
    peer.feed(frame(3, 0, 1, number(CANCEL)))
    assert peer.events == [("reset", 1, CANCEL, "")]
    assert [sent.kind for sent in peer.sent()] == [1]
    peer.connection.send_data(stream, b"def", True)
    peer.connection.send_head(stream, OK_HEAD, True)
    peer.connection.send_trailers(stream, b"a: b\r\n")
    peer.connection.reset(stream, CANCEL)
    peer.connection.consume(stream, 5)
    assert peer.sent() == []


def test_a_reset_of_the_owner_drops_what_is_not_sent() -> None:
    peer = Peer()
    peer.feed(NO_WINDOW)
    peer.sent()
    stream = peer.open(1)
    peer.connection.send_head(stream, OK_HEAD, False)
    peer.connection.send_data(stream, b"abc", False)
    peer.connection.reset(stream, INTERNAL_ERROR)
    assert [sent.kind for sent in peer.sent()] == [1, 3]
    assert peer.events == []
    assert not peer.connection.has_work()


def test_frames_in_flight_after_a_reset_are_ignored() -> None:
    peer = Peer()
    peer.connection.reset(peer.open(1), INTERNAL_ERROR)
    peer.sent()
    peer.feed(frame(0, 0, 1, b"abc"), frame(8, 0, 1, number(9)), frame(2, 0, 1, bytes(5)))
    peer.feed(peer.headers(1, [(b"x-late", b"1")]))
    assert (peer.sent(), peer.events) == ([], [])
    # The table has taken the late block.
    peer.feed(peer.headers(3, [*GET, (b"x-late", b"1")]))
    assert peer.events == [("request", 3, GET_HEAD[:-2] + b"x-late: 1\r\n\r\n")]


def test_the_end_of_a_reset_stream_is_its_last_frame() -> None:
    peer = Peer()
    peer.connection.reset(peer.open(1), INTERNAL_ERROR)
    peer.feed(frame(0, 1, 1, b"abc"))
    peer.sent()
    peer.feed(frame(0, 0, 1, b"abc"))
    assert peer.resets() == [(1, STREAM_CLOSED)]


def test_nothing_may_be_in_flight_of_a_request_that_has_ended() -> None:
    peer = Peer()
    peer.connection.reset(peer.open(1, is_last=True), INTERNAL_ERROR)
    peer.sent()
    peer.feed(frame(0, 0, 1, b"abc"))
    assert peer.resets() == [(1, STREAM_CLOSED)]


def test_streams_with_even_numbers_are_idle_for_ever() -> None:
    peer = Peer()
    peer.open(5)
    peer.feed(frame(0, 0, 2, b"abc"))
    assert peer.events == [("fault", 0, PROTOCOL_ERROR, f"DATA {IDLE}")]


def test_only_the_last_reset_streams_are_remembered() -> None:
    peer = Peer()
    for stream_id in range(1, 2 * MAX_RESET_STREAMS + 3, 2):
        peer.connection.reset(peer.open(stream_id), INTERNAL_ERROR)
    peer.sent()
    peer.feed(frame(0, 0, 3, b"abc"))
    assert peer.sent() == []
    peer.feed(frame(0, 0, 1, b"abc"))
    assert peer.resets() == [(1, STREAM_CLOSED)]


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (frame(0, 0, 1, b"a"), f"DATA {IDLE}"),
        (frame(0, 0, 2, b"a"), f"DATA {IDLE}"),
        (frame(3, 0, 1, number(8)), f"RST_STREAM {IDLE}"),
        (frame(3, 0, 2, number(8)), f"RST_STREAM {IDLE}"),
        (frame(8, 0, 1, number(8)), f"WINDOW_UPDATE {IDLE}"),
        (frame(8, 0, 1, number(0)), "a window is updated by 0"),
    ],
)
def test_frames_on_an_idle_stream_end_the_connection(data: bytes, rule: str) -> None:
    peer = Peer()
    peer.feed(data)
    assert peer.events == [("fault", 0, PROTOCOL_ERROR, rule)]
    assert peer.goaway() == (0, PROTOCOL_ERROR, rule.encode())


def test_priority_on_an_idle_stream_is_ignored() -> None:
    peer = Peer()
    peer.feed(frame(2, 0, 5, bytes(5)), frame(2, 0, 6, bytes(5)))
    assert (peer.sent(), peer.events) == ([], [])


@pytest.mark.parametrize("is_data", [True, False], ids=["data", "headers"])
def test_frames_after_the_end_of_a_request_reset_its_stream(is_data: bool) -> None:
    peer = Peer()
    peer.open(1, is_last=True)
    name = "DATA" if is_data else "HEADERS"
    peer.feed(frame(0, 0, 1, b"a") if is_data else peer.headers(1, [(b"a", b"b")]))
    rule = f"{name} comes after the end of the request"
    assert peer.events == [("reset", 1, STREAM_CLOSED, rule)]
    assert peer.resets() == [(1, STREAM_CLOSED)]


def test_frames_on_a_closed_stream() -> None:
    peer = Peer()
    peer.open(1, is_last=True)
    peer.respond(1)
    assert peer.events == [("closed", 1)]
    # May have been sent before the end arrived.
    peer.feed(frame(8, 0, 1, number(5)), frame(3, 0, 1, number(CANCEL)), frame(2, 0, 1, bytes(5)))
    assert (peer.sent(), peer.events) == ([], [])
    peer.feed(frame(0, 0, 1, b"a"))
    assert peer.resets() == [(1, STREAM_CLOSED)]


def test_headers_on_a_closed_stream_end_the_connection() -> None:
    peer = Peer()
    peer.open(1, is_last=True)
    peer.respond(1)
    peer.feed(peer.headers(1))
    assert peer.events[-1] == ("fault", 0, STREAM_CLOSED, "HEADERS is on a stream that was closed")


def test_headers_on_a_stream_that_was_left_out_end_the_connection() -> None:
    peer = Peer()
    peer.open(5)
    peer.feed(peer.headers(3))
    rule = "a stream has a lower number than one before it"
    assert peer.events == [("fault", 0, PROTOCOL_ERROR, rule)]


@pytest.mark.parametrize("stream_id", [2, 4])
def test_a_client_opens_streams_with_odd_numbers(stream_id: int) -> None:
    peer = Peer()
    peer.feed(peer.headers(stream_id))
    rule = "a client opens a stream with an even number"
    assert peer.events == [("fault", 0, PROTOCOL_ERROR, rule)]


def test_a_frame_that_breaks_a_rule_resets_its_stream_only() -> None:
    peer = Peer()
    peer.open(1)
    peer.feed(frame(8, 0, 1, number(0)), frame(6, 0, 0, bytes(8)))
    assert peer.events == [("reset", 1, PROTOCOL_ERROR, "a window is updated by 0")]
    assert [sent.kind for sent in peer.sent()] == [3, 6]
    peer.feed(frame(8, 0, 1, number(0)))
    assert peer.sent() == []


def test_nothing_is_read_after_a_fault() -> None:
    peer = Peer()
    stream = peer.open(1)
    peer.feed(frame(5, 4, 1) + peer.headers(3))
    assert [event[0] for event in peer.events] == ["fault"]
    peer.feed(peer.headers(5))
    peer.connection.send_head(stream, OK_HEAD, False)
    peer.connection.send_data(stream, b"a", True)
    peer.connection.reset(stream, CANCEL)
    peer.connection.fail(INTERNAL_ERROR, "again")
    peer.connection.consume(stream, 1)
    assert peer.events == []
    assert [sent.kind for sent in peer.sent()] == [7]
    assert peer.connection.count_streams() == 0


def test_the_owner_may_end_the_connection_from_within_a_call() -> None:
    peer = Peer()
    original = peer.owner.on_request

    def end(stream: object, head: bytes, is_repeated: bool) -> None:
        original(stream, head, is_repeated)  # type: ignore[arg-type]
        peer.connection.fail(INTERNAL_ERROR, "enough")

    peer.owner.on_request = end  # type: ignore[method-assign]
    peer.feed(peer.headers(1) + peer.headers(3))
    assert [event[0] for event in peer.events] == ["request", "fault"]


def test_the_owner_may_reset_a_stream_from_within_a_call() -> None:
    peer = Peer()

    def reset(stream: object, data: bytes, is_last: bool) -> None:
        peer.connection.reset(peer.owner.streams[1], CANCEL)

    stream = peer.open(1)
    peer.owner.on_data = reset  # type: ignore[method-assign]
    peer.feed(frame(0, 1, 1, b"abc"))
    assert peer.events == []
    assert peer.resets() == [(1, CANCEL)]
    assert stream.held == 0


def test_attachments_belong_to_the_owner() -> None:
    stream = Peer().open(1)
    assert stream.attachment is None
    stream.attachment = "mine"
    assert stream.attachment == "mine"
