"""What frames mean in the state of their stream (RFC 9113 section 5.1): calls and frames out."""

import pytest

from cmux_proxy.http1.head_limits import HeadLimits
from cmux_proxy.http2.error_codes import (
    CANCEL,
    COMPRESSION_ERROR,
    ENHANCE_YOUR_CALM,
    INTERNAL_ERROR,
    NO_ERROR,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    STREAM_CLOSED,
)
from cmux_proxy.http2.frame_types import PREFACE, SETTINGS
from cmux_proxy.http2.http2_limits import MAX_RESET_STREAMS, Http2Limits
from cmux_proxy.http2.line_memory import COMMON_AFTER
from tests.helpers.http2_client import OK_HEAD, Peer
from tests.helpers.http2_frames import (
    GET,
    GET_HEAD,
    HEAD_LIMITS,
    POST,
    POST_HEAD,
    Frame,
    frame,
    number,
    read_frames,
)


def test_the_proxy_greets_at_once() -> None:
    peer = Peer(greets=False)
    settings, update = peer.sent()
    values = {
        int.from_bytes(settings.payload[at : at + 2], "big"): int.from_bytes(
            settings.payload[at + 2 : at + 6], "big"
        )
        for at in range(0, len(settings.payload), 6)
    }
    assert settings[:3] == (SETTINGS, 0, 0)
    assert values == {3: 100, 6: 16_384 + 65_536, 8: 1}
    assert update == Frame(8, 0, 0, number(1_048_576 - 65_535))


def test_limits_are_announced() -> None:
    peer = Peer(Http2Limits(HEAD_LIMITS, 7, 100_000, 65_535), greets=False)
    (settings,) = peer.sent()
    assert b"\0\3" + number(7) in settings.payload
    assert b"\0\4" + number(100_000) in settings.payload


def test_a_table_that_was_smaller_for_a_moment_is_emptied() -> None:
    peer = Peer()
    stream = peer.open(1)
    for _ in range(COMMON_AFTER + 2):
        peer.connection.send_head(stream, b"HTTP/1.1 103 Hints\r\nserver: b\r\n\r\n", False)
    assert peer.sent()[-1].payload == b"\x08\x03103\xbe"
    peer.feed(frame(4, 0, 0, b"\0\1" + number(0) + b"\0\1" + number(4096)))
    peer.connection.send_head(stream, OK_HEAD, True)
    # RFC 7541 section 4.2: the smallest size, then the last.
    assert peer.sent()[-1].payload == b"\x20\x3f\xe1\x1f\x88"


def test_settings_are_acknowledged_each_time() -> None:
    peer = Peer(greets=False)
    peer.sent()
    peer.feed(PREFACE + frame(4, 0, 0) + frame(4, 0, 0, b"\0\1" + number(0)))
    assert peer.sent() == [Frame(4, 1, 0, b"")] * 2


def test_a_ping_is_answered_with_its_payload() -> None:
    peer = Peer()
    peer.feed(frame(6, 0, 0, b"12345678"))
    assert peer.sent() == [Frame(6, 1, 0, b"12345678")]
    peer.connection.ping(b"87654321")
    assert peer.sent() == [Frame(6, 0, 0, b"87654321")]
    peer.feed(frame(6, 1, 0, b"87654321"))
    assert peer.events == [("ping answered", 0, b"87654321")]
    assert peer.sent() == []


def test_a_request_and_its_response() -> None:
    peer = Peer()
    peer.feed(peer.headers(1))
    assert peer.events == [("request", 1, GET_HEAD)]
    stream = peer.owner.streams[1]
    assert stream.has_request_ended()
    peer.connection.send_head(stream, b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", False)
    peer.connection.send_head(stream, b"HTTP/1.1 200 OK\r\nServer: b\r\n\r\n", False)
    peer.connection.send_data(stream, b"hello", False)
    peer.connection.send_data(stream, b" world", True)
    hints, head, first, last = peer.sent()
    assert peer.decoded(hints.payload) == [(b":status", b"103"), (b"link", b"</a>")]
    assert peer.decoded(head.payload) == [(b":status", b"200"), (b"server", b"b")]
    assert (hints.flags, head.flags) == (4, 4)
    assert (first, last) == (Frame(0, 0, 1, b"hello"), Frame(0, 1, 1, b" world"))
    assert peer.events == [("closed", 1)]
    assert peer.connection.is_idle()


def test_a_response_without_a_body_ends_with_its_head() -> None:
    peer = Peer()
    stream = peer.open(1, is_last=True)
    peer.connection.send_head(stream, OK_HEAD, True)
    assert [sent[:2] for sent in peer.sent()] == [(1, 5)]
    assert peer.events == [("closed", 1)]


def test_an_end_after_the_body_is_an_empty_frame() -> None:
    peer = Peer()
    stream = peer.open(1, is_last=True)
    peer.connection.send_head(stream, OK_HEAD, False)
    peer.connection.send_data(stream, b"abc", False)
    assert [sent[:2] for sent in peer.sent()] == [(1, 4), (0, 0)]
    peer.connection.send_data(stream, b"", True)
    assert peer.sent() == [Frame(0, 1, 1, b"")]
    assert peer.events == [("closed", 1)]


def test_an_end_right_after_the_body_is_in_its_last_frame() -> None:
    peer = Peer()
    first, second = peer.open(1, is_last=True), peer.open(3, is_last=True)
    for stream in (first, second):
        peer.connection.send_data(stream, b"abc", False)
    peer.connection.send_data(second, b"", True)
    peer.connection.send_data(first, b"", True)
    ends = [Frame(0, 0, 1, b"abc"), Frame(0, 1, 3, b"abc"), Frame(0, 1, 1, b"")]
    assert peer.sent() == ends
    assert peer.events == [("closed", 3), ("closed", 1)]


def test_a_frame_that_was_taken_cannot_end_a_stream() -> None:
    peer = Peer()
    stream = peer.open(1, is_last=True)
    peer.connection.send_data(stream, b"abc", False)
    assert peer.sent() == [Frame(0, 0, 1, b"abc")]
    peer.connection.send_data(stream, b"", True)
    assert peer.sent() == [Frame(0, 1, 1, b"")]


def test_a_response_with_trailers() -> None:
    peer = Peer()
    stream = peer.open(1, is_last=True)
    peer.connection.send_head(stream, OK_HEAD, False)
    peer.connection.send_data(stream, b"abc", False)
    peer.connection.send_trailers(stream, b"Grpc-Status: 0\r\n")
    head, data, trailers = peer.sent()
    assert (head.flags, data, trailers.flags) == (4, Frame(0, 0, 1, b"abc"), 5)
    peer.decoded(head.payload)
    assert peer.decoded(trailers.payload) == [(b"grpc-status", b"0")]
    assert peer.events == [("closed", 1)]


def test_a_request_with_a_body_and_trailers() -> None:
    peer = Peer()
    peer.feed(peer.headers(1, POST, False), frame(0, 0, 1, b"abc"), frame(0, 0, 1, b"d"))
    peer.feed(peer.headers(1, [(b"checksum", b"1"), (b"x", b"y")]))
    assert peer.events == [
        ("request", 1, POST_HEAD),
        ("data", 1, b"abc", False),
        ("data", 1, b"d", False),
        ("trailers", 1, b"checksum: 1\r\nx: y\r\n"),
    ]
    assert peer.owner.streams[1].has_request_ended()


def test_a_response_may_end_before_its_request() -> None:
    peer = Peer()
    stream = peer.open(1)
    peer.respond(1)
    assert peer.events == []
    peer.feed(frame(0, 0, 1, b"abc"), frame(0, 1, 1, b"d"))
    assert peer.events == [
        ("data", 1, b"abc", False),
        ("data", 1, b"d", True),
        ("closed", 1),
    ]
    assert stream.held == 0


def test_the_rest_of_a_request_may_be_declined() -> None:
    peer = Peer()
    stream = peer.open(1)
    peer.connection.send_head(stream, OK_HEAD, True)
    peer.sent()
    peer.connection.reset(stream, NO_ERROR)
    assert peer.sent() == [Frame(3, 0, 1, number(NO_ERROR))]
    assert peer.events == []
    assert peer.connection.count_streams() == 0


def test_a_body_with_a_length_ends_with_its_last_byte() -> None:
    peer = Peer()
    peer.feed(peer.headers(1, [*POST, (b"content-length", b"5")], False))
    peer.feed(frame(0, 0, 1, b"abc"), frame(0, 1, 1, b"de"))
    assert peer.events[1:] == [("data", 1, b"abc", False), ("data", 1, b"de", True)]


LENGTH = "the body is not as long as Content-Length"


@pytest.mark.parametrize(
    ("pieces", "rule"),
    [
        ([frame(0, 0, 1, b"abcdef")], LENGTH),
        ([frame(0, 0, 1, b"abc"), frame(0, 0, 1, b"def")], LENGTH),
        ([frame(0, 1, 1, b"abc")], LENGTH),
        ([frame(0, 1, 1)], LENGTH),
        ([frame(0, 0, 1, b"abcde"), frame(0, 1, 1, b"f")], LENGTH),
    ],
)
def test_a_body_of_another_length_resets_its_stream(pieces: list[bytes], rule: str) -> None:
    peer = Peer()
    peer.feed(peer.headers(1, [*POST, (b"content-length", b"5")], False), *pieces)
    assert peer.events[-1] == ("reset", 1, PROTOCOL_ERROR, rule)
    assert peer.resets() == [(1, PROTOCOL_ERROR)]


def test_trailers_before_the_end_of_the_body_reset_their_stream() -> None:
    peer = Peer()
    peer.feed(peer.headers(1, [*POST, (b"content-length", b"5")], False), frame(0, 0, 1, b"abc"))
    peer.feed(peer.headers(1, [(b"a", b"b")]))
    rule = "the body is shorter than Content-Length"
    assert peer.events[-1] == ("reset", 1, PROTOCOL_ERROR, rule)


@pytest.mark.parametrize(
    ("fields", "is_last", "rule"),
    [
        ([(b"a", b"b")], False, "HEADERS comes in the middle of a request"),
        (GET, True, "a trailer section has a pseudo-field"),
        ([(b"te", b"x")], True, "TE has a value other than trailers"),
    ],
)
def test_malformed_trailers_reset_their_stream(
    fields: list[tuple[bytes, bytes]], is_last: bool, rule: str
) -> None:
    peer = Peer()
    peer.open(1)
    peer.feed(peer.headers(1, fields, is_last))
    assert peer.events == [("reset", 1, PROTOCOL_ERROR, rule)]
    assert peer.resets() == [(1, PROTOCOL_ERROR)]


def test_trailers_of_a_tunnel_reset_it() -> None:
    peer = Peer()
    peer.feed(peer.headers(1, [(b":method", b"CONNECT"), (b":authority", b"a:1")], False))
    assert peer.owner.streams[1].is_tunnel
    peer.feed(peer.headers(1, [(b"a", b"b")]))
    rule = "HEADERS comes in the middle of a request"
    assert peer.events[-1] == ("reset", 1, PROTOCOL_ERROR, rule)


def test_large_trailers_reset_their_stream() -> None:
    peer = Peer(Http2Limits(HeadLimits(100, 100, 10)))
    peer.open(1)
    peer.feed(peer.headers(1, [(b"a", b"b" * 200)]))
    rule = "the trailer section is too large"
    assert peer.events == [("reset", 1, ENHANCE_YOUR_CALM, rule)]


def test_an_extended_connect_is_a_tunnel() -> None:
    peer = Peer()
    fields = [(b":method", b"CONNECT"), (b":protocol", b"websocket"), *GET[1:]]
    peer.feed(peer.headers(1, fields, False), frame(0, 0, 1, b"abc"))
    stream = peer.owner.streams[1]
    assert (stream.is_tunnel, stream.protocol, stream.content_left) == (True, b"websocket", -1)
    assert peer.events[1] == ("data", 1, b"abc", False)


def test_a_malformed_request_is_refused_and_the_table_stays_in_step() -> None:
    peer = Peer()
    peer.feed(peer.headers(1, [*GET, (b"x-kept", b"1"), (b"Bad", b"x")]))
    rule = "a field name has upper-case letters"
    assert peer.events == [("refused", 1, PROTOCOL_ERROR, rule)]
    assert peer.resets() == [(1, PROTOCOL_ERROR)]
    peer.feed(peer.headers(3, [*GET, (b"x-kept", b"1")]))
    assert peer.events == [("request", 3, GET_HEAD[:-2] + b"x-kept: 1\r\n\r\n")]


@pytest.mark.parametrize(
    ("field", "status"), [((b"host", b"b"), 400), ((b"a", b"a" * 300), 431)], ids=["host", "large"]
)
def test_a_bad_request_gets_a_response(field: tuple[bytes, bytes], status: int) -> None:
    peer = Peer(Http2Limits(HeadLimits(100, 100, 10)))
    peer.feed(peer.headers(1, [*GET, field]))
    assert peer.events[0][:3] == ("bad request", 1, status)
    stream = peer.owner.streams[1]
    peer.connection.send_head(stream, b"HTTP/1.1 %d Bad\r\n\r\n" % status, True)
    (head,) = peer.sent()
    assert (head.flags, peer.events) == (5, [("closed", 1)])


def test_a_compression_error_ends_the_connection() -> None:
    peer = Peer()
    peer.open(1)
    peer.feed(frame(1, 5, 3, b"\xff\xff\xff\xff\xff\xff"))
    rule = "an integer of HPACK is too large"
    assert peer.events == [("fault", 0, COMPRESSION_ERROR, rule)]
    assert peer.goaway() == (1, COMPRESSION_ERROR, rule.encode())
    assert peer.connection.is_over


def test_streams_beyond_the_limit_are_refused_and_decoded() -> None:
    peer = Peer(Http2Limits(HEAD_LIMITS, streams=2))
    peer.open(1)
    peer.open(3)
    peer.feed(peer.headers(5, [*GET, (b"x-new", b"1")]))
    assert peer.events == [("refused", 5, REFUSED_STREAM, "too many streams are open")]
    assert peer.resets() == [(5, REFUSED_STREAM)]
    peer.feed(frame(3, 0, 1, number(CANCEL)), peer.headers(7, [*GET, (b"x-new", b"1")]))
    assert peer.events[1] == ("request", 7, GET_HEAD[:-2] + b"x-new: 1\r\n\r\n")


def test_frames_in_flight_of_a_refused_stream_are_ignored() -> None:
    peer = Peer(Http2Limits(HEAD_LIMITS, streams=1))
    peer.open(1)
    peer.feed(peer.headers(3, POST, False), frame(0, 0, 3, b"abc"), frame(8, 0, 3, number(5)))
    peer.feed(peer.headers(3, [(b"a", b"b")]))
    assert peer.resets() == [(3, REFUSED_STREAM)]
    assert [event[0] for event in peer.events] == ["refused"]


# Ends

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
    assert peer.connection.is_idle()


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

    def end(stream: object, head: bytes) -> None:
        original(stream, head)  # type: ignore[arg-type]
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


# Drain


def test_a_drain_serves_streams_on_their_way() -> None:
    peer = Peer()
    peer.open(1, is_last=True)
    peer.connection.announce_drain()
    assert peer.goaway() == (0x7FFFFFFF, NO_ERROR, b"")
    peer.open(3, is_last=True)
    peer.connection.refuse_streams()
    assert peer.goaway() == (3, NO_ERROR, b"")
    peer.feed(peer.headers(5, POST, False), frame(0, 0, 5, b"abc"), frame(8, 0, 5, number(1)))
    peer.feed(peer.headers(5, [(b"a", b"b")]), frame(3, 0, 5, number(CANCEL)))
    assert (peer.sent(), peer.events) == ([], [])
    peer.respond(1)
    assert not peer.connection.is_idle()
    peer.respond(3)
    assert peer.events == [("closed", 1), ("closed", 3)]
    assert peer.connection.is_idle()


def test_blocks_of_ignored_streams_are_decoded() -> None:
    peer = Peer()
    peer.open(1)
    peer.connection.refuse_streams()
    peer.feed(peer.headers(3, [*GET, (b"x-ignored", b"1")]))
    peer.feed(peer.headers(1, [(b"x-ignored", b"1")]))
    assert peer.events == [("trailers", 1, b"x-ignored: 1\r\n")]


def test_the_client_says_that_it_goes_away() -> None:
    peer = Peer()
    peer.open(1)
    peer.feed(frame(7, 0, 0, number(0) + number(NO_ERROR) + b"bye"))
    assert peer.events == [("goaway", 0, NO_ERROR)]
    assert peer.connection.count_streams() == 1


def test_it_is_idle_only_with_nothing_to_do() -> None:
    peer = Peer(greets=False)
    assert not peer.connection.is_idle()
    peer.sent()
    assert peer.connection.is_idle()
    peer.feed(PREFACE + frame(4, 0, 0))
    peer.sent()
    assert not peer.connection.is_mid_frame()
    peer.feed(b"\0")
    assert not peer.connection.is_idle()
    assert peer.connection.is_mid_frame()


def test_all_bytes_before_a_fault_are_sent() -> None:
    peer = Peer()
    peer.feed(frame(6, 0, 0, bytes(8)) + frame(5, 4, 1))
    assert [sent.kind for sent in read_frames(peer.sent_bytes())] == [6, 7]
