"""Settings, requests and responses: calls and frames out (RFC 9113 sections 3.4, 6 and 8)."""

import pytest

from cmux_proxy.http1.head_limits import HeadLimits
from cmux_proxy.http2.error_codes import (
    CANCEL,
    COMPRESSION_ERROR,
    ENHANCE_YOUR_CALM,
    NO_ERROR,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
)
from cmux_proxy.http2.frame_types import PREFACE, SETTINGS
from cmux_proxy.http2.http2_limits import Http2Limits
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
    assert not peer.connection.has_work()


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
