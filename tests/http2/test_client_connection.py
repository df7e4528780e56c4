"""A connection to an upstream, without I/O: what is sent, and what frames of an upstream mean."""

from collections.abc import Callable
from typing import Any, Final

import h2.config
import h2.connection
import h2.events
import hpack
import pytest

from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.head_limits import HeadLimits
from cmux_proxy.http2.client_connection import ClientConnection
from cmux_proxy.http2.engine import Engine
from cmux_proxy.http2.error_codes import (
    ENHANCE_YOUR_CALM,
    PROTOCOL_ERROR,
    STREAM_CLOSED,
)
from cmux_proxy.http2.frame_types import (
    DATA,
    END_STREAM,
    MAX_CONCURRENT_STREAMS,
    MAX_STREAM_ID,
    PREFACE,
)
from cmux_proxy.http2.frame_writer import (
    frame_header,
    headers_frames,
    ping_frame,
    reset_frame,
    settings_frame,
)
from cmux_proxy.http2.http2_limits import RESET_BURST, Http2Limits
from cmux_proxy.http2.http2_stream import Http2Stream
from cmux_proxy.http2.response_handler import ResponseHandler

HEAD: Final = b"POST /a HTTP/1.1\r\nhost: h:1\r\nTE: trailers\r\nx-a: b\r\nConnection: TE\r\n\r\n"
LIMITS: Final = HeadLimits(400, 400, 20)


class Events(ResponseHandler):
    """Notes what it is called with."""

    def __init__(self) -> None:
        self.seen: list[tuple[object, ...]] = []

    def on_response(self, stream: Http2Stream, head: bytes, is_chunked: bool) -> None:
        self.seen.append(("response", stream.id, head.split(b" ")[1], is_chunked))

    def on_data(self, stream: Http2Stream, data: bytes, is_last: bool) -> None:
        self.seen.append(("data", stream.id, data, is_last))

    def on_trailers(self, stream: Http2Stream, lines: bytes) -> None:
        self.seen.append(("trailers", stream.id, lines))

    def on_reset(self, stream: Http2Stream, code: int, rule: str) -> None:
        self.seen.append(("reset", stream.id, code, rule))

    def on_closed(self, stream: Http2Stream) -> None:
        self.seen.append(("closed", stream.id))

    def on_goaway(self, last_stream_id: int, code: int) -> None:
        self.seen.append(("goaway", last_stream_id, code))

    def on_connection_fault(self, code: int, rule: str) -> None:
        self.seen.append(("fault", code, rule))

    def on_request(self, stream: Http2Stream, head: bytes, is_repeated: bool) -> None: ...

    def on_bad_request(self, stream: Http2Stream, error: BadMessage) -> None: ...

    def on_refused(self, stream_id: int, code: int, rule: str) -> None: ...

    def on_blocked(self, stream: Http2Stream) -> None: ...

    def on_unblocked(self, stream: Http2Stream) -> None: ...

    def on_ping_answered(self, payload: bytes) -> None: ...


class Upstream:
    """A greeted connection, and an encoder for what the upstream sends."""

    def __init__(self, settings: dict[int, int] | None = None) -> None:
        self.events = Events()
        self.http2 = ClientConnection(Engine(Http2Limits(LIMITS)), self.events)
        self.encoder = hpack.Encoder()
        self.receive(settings_frame(settings or {}))

    def receive(self, data: bytes) -> list[tuple[object, ...]]:
        """Return what the bytes lead to."""
        self.events.seen = []
        self.http2.core.receive(data, 1.0)
        return self.events.seen

    def sent(self) -> bytes:
        """Return what is sent now."""
        return b"".join(self.http2.core.take_frames())

    def head(self, stream: Http2Stream, *fields: tuple[str, str], is_last: bool = False) -> bytes:
        """Return the frame of a header block."""
        return headers_frames(stream.id, self.encoder.encode(fields), is_last)

    def open(self, is_last: bool = True) -> Http2Stream:
        """Open a stream."""
        return self.http2.open_stream(HEAD, b"http", is_last)


def data_frame(stream: Http2Stream, data: bytes, is_last: bool = False) -> bytes:
    return frame_header(len(data), DATA, END_STREAM if is_last else 0, stream.id) + data


STATUS: Final = (":status", "200")


def test_an_implementation_of_others_reads_what_is_sent() -> None:
    upstream = Upstream()
    for method in (b"POST", b"GET", b"PROPFIND"):
        upstream.http2.open_stream(HEAD.replace(b"POST", method), b"https", True)
    sent = upstream.sent()
    assert sent.startswith(PREFACE)
    peer = h2.connection.H2Connection(
        h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
    )
    peer.initiate_connection()
    events = peer.receive_data(sent)
    requests = [event for event in events if isinstance(event, h2.events.RequestReceived)]
    assert [event.stream_id for event in requests] == [1, 3, 5]
    for event, name in zip(requests, ("POST", "GET", "PROPFIND"), strict=True):
        fields: list[Any] = list(event.headers)
        assert fields == [
            (":method", name), (":scheme", "https"), (":path", "/a"), (":authority", "h:1"),
            ("te", "trailers"), ("x-a", "b"),
        ]  # fmt: skip


def test_the_settings_say_how_many_streams_there_may_be() -> None:
    events = Events()
    http2 = ClientConnection(Engine(Http2Limits(LIMITS)), events)
    assert not http2.is_greeted()
    http2.core.receive(settings_frame({MAX_CONCURRENT_STREAMS: 7}), 1.0)
    assert http2.is_greeted()
    assert http2.max_streams() == 7
    assert Upstream().http2.max_streams() == MAX_STREAM_ID


def test_numbers_of_streams_end() -> None:
    upstream = Upstream()
    assert upstream.http2.has_ids()
    upstream.http2._parts.table.last_id = MAX_STREAM_ID
    assert not upstream.http2.has_ids()


def test_a_response_has_interim_heads_a_body_and_trailers() -> None:
    upstream = Upstream()
    stream = upstream.open()
    upstream.sent()
    frames = upstream.head(stream, (":status", "103")) + upstream.head(stream, STATUS)
    frames += data_frame(stream, b"x") + upstream.head(stream, ("a", "b"), is_last=True)
    assert upstream.receive(frames) == [
        ("response", 1, b"103", False), ("response", 1, b"200", True), ("data", 1, b"x", False),
        ("trailers", 1, b"a: b\r\n"), ("closed", 1),
    ]  # fmt: skip


FAULTS: Final[dict[str, tuple[Callable[[Upstream, Http2Stream], bytes], int, str]]] = {
    "no status": (lambda up, s: up.head(s, ("a", "b")), PROTOCOL_ERROR, "the status is missing"),
    "a head in the body": (
        lambda up, s: up.head(s, STATUS) + up.head(s, ("a", "b")),
        PROTOCOL_ERROR, "HEADERS comes in the middle of a response",
    ),
    "a status in trailers": (
        lambda up, s: up.head(s, STATUS) + up.head(s, STATUS, is_last=True),
        PROTOCOL_ERROR, "a pseudo-field is not defined",
    ),
    "trailers before the length": (
        lambda up, s: up.head(s, STATUS, ("content-length", "5"))
        + up.head(s, ("a", "b"), is_last=True),
        PROTOCOL_ERROR, "the body is shorter than Content-Length",
    ),
    "a body that is too long": (
        lambda up, s: up.head(s, STATUS, ("content-length", "1")) + data_frame(s, b"xy"),
        PROTOCOL_ERROR, "the body is not as long as Content-Length",
    ),
    "a head after the end": (
        lambda up, s: up.head(s, STATUS) + data_frame(s, b"", True) + up.head(s, ("a", "b")),
        STREAM_CLOSED, "HEADERS comes after the end of the response",
    ),
    "a head that is too large": (
        lambda up, s: up.head(s, STATUS, ("a", "b" * 900)),
        ENHANCE_YOUR_CALM, "the header section is too large",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_rule_that_a_response_breaks_ends_its_stream(name: str) -> None:
    make, code, rule = FAULTS[name]
    upstream = Upstream()
    stream, other = upstream.open(is_last=False), upstream.open()
    upstream.sent()
    kind, stream_id, seen_code, seen_rule = upstream.receive(make(upstream, stream))[-1]
    assert (kind, stream_id, seen_code) == ("reset", 1, code)
    assert str(seen_rule).startswith(rule)
    assert reset_frame(1, code) in upstream.sent()
    # The tables are in step, and the other stream goes on.
    seen = upstream.receive(upstream.head(other, STATUS, ("x-later", "1"), is_last=True))
    assert seen == [("response", 3, b"200", False), ("closed", 3)]


def test_frames_on_a_stream_that_was_reset_are_ignored() -> None:
    upstream = Upstream()
    stream = upstream.open(is_last=False)
    upstream.sent()
    upstream.http2.core.reset(stream, 8)
    frames = upstream.head(stream, STATUS) + data_frame(stream, b"x") + reset_frame(1, 0)
    assert upstream.receive(frames) == []
    assert not upstream.http2.core.is_over


def test_a_stream_that_was_not_opened_ends_the_connection() -> None:
    upstream = Upstream()
    stream = Http2Stream(1, 1, 1)
    [(kind, code, rule)] = upstream.receive(upstream.head(stream, STATUS))
    assert (kind, code) == ("fault", PROTOCOL_ERROR)
    assert rule == "HEADERS is on a stream that was not opened"


def test_pings_and_resets_of_an_upstream_have_no_budget() -> None:
    upstream = Upstream()
    assert upstream.receive(ping_frame(b"12345678", False) * 20_000) == []
    for _ in range(RESET_BURST + 1):
        stream = upstream.open()
        upstream.receive(reset_frame(stream.id, 8))
    assert not upstream.http2.core.is_over


def test_it_says_that_it_leaves() -> None:
    upstream = Upstream()
    upstream.sent()
    upstream.http2.leave()
    assert upstream.sent() == b"\0\0\x08\x07\0\0\0\0\0" + b"\0" * 8
