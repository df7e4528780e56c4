"""A client of the HTTP/2 engine: makes frames by hand, and records what the engine does.

`Peer` plays both roles around a `ServerConnection`: its owner, which records each call as a tuple,
and its client, whose frames are written here and whose header blocks `hpack` encodes.
"""

from collections.abc import Iterable

import hpack

from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http2.engine import Engine
from cmux_proxy.http2.frame_types import (
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PREFACE,
    RST_STREAM,
    SETTINGS,
)
from cmux_proxy.http2.handler import ConnectionHandler
from cmux_proxy.http2.http2_limits import Http2Limits
from cmux_proxy.http2.http2_stream import Http2Stream
from cmux_proxy.http2.server_connection import ServerConnection
from tests.helpers.http2_frames import (
    GET,
    HEAD_LIMITS,
    POST,
    Event,
    Frame,
    frame,
    read_frames,
)

OK_HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


class Owner(ConnectionHandler):
    """Records the calls of a connection, each as (name, stream number, values)."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.streams: dict[int, Http2Stream] = {}
        # The streams of requests that are said to be the last one again.
        self.repeats: list[int] = []

    def on_request(self, stream: Http2Stream, head: bytes, is_repeated: bool) -> None:
        self.streams[stream.id] = stream
        if is_repeated:
            self.repeats.append(stream.id)
        self.events.append(("request", stream.id, head))

    def on_bad_request(self, stream: Http2Stream, error: BadMessage) -> None:
        self.streams[stream.id] = stream
        self.events.append(("bad request", stream.id, error.status, error.reason))

    def on_refused(self, stream_id: int, code: int, rule: str) -> None:
        self.events.append(("refused", stream_id, code, rule))

    def on_data(self, stream: Http2Stream, data: bytes, is_last: bool) -> None:
        self.events.append(("data", stream.id, data, is_last))

    def on_trailers(self, stream: Http2Stream, lines: bytes) -> None:
        self.events.append(("trailers", stream.id, lines))

    def on_reset(self, stream: Http2Stream, code: int, rule: str) -> None:
        self.events.append(("reset", stream.id, code, rule))

    def on_closed(self, stream: Http2Stream) -> None:
        self.events.append(("closed", stream.id))

    def on_blocked(self, stream: Http2Stream) -> None:
        self.events.append(("blocked", stream.id))

    def on_unblocked(self, stream: Http2Stream) -> None:
        self.events.append(("unblocked", stream.id))

    def on_ping_answered(self, payload: bytes) -> None:
        self.events.append(("ping answered", 0, payload))

    def on_goaway(self, last_stream_id: int, code: int) -> None:
        self.events.append(("goaway", last_stream_id, code))

    def on_connection_fault(self, code: int, rule: str) -> None:
        self.events.append(("fault", 0, code, rule))


class Peer:
    """A connection whose two ends are the test; `events` are the calls, `sent` the frames."""

    def __init__(
        self, limits: Http2Limits | None = None, owner: Owner | None = None, greets: bool = True
    ) -> None:
        self.owner = owner or Owner()
        self.engine = Engine(limits or Http2Limits(HEAD_LIMITS))
        self.connection = ServerConnection(self.engine, self.owner)
        self.encoder = hpack.Encoder()
        self.decoder = hpack.Decoder()
        self.now = 0.0
        if greets:
            self.feed(PREFACE + frame(SETTINGS, 0, 0))
            assert [sent.kind for sent in self.sent()][-1] == SETTINGS

    @property
    def events(self) -> list[Event]:
        """Return the calls since the last look, and forget them."""
        events = self.owner.events
        self.owner.events = []
        return events

    def feed(self, *pieces: bytes) -> None:
        """Pass bytes to the connection."""
        for piece in pieces:
            self.connection.receive(piece, self.now)

    def sent_bytes(self) -> bytes:
        """Return what the connection sends now."""
        return b"".join(self.connection.take_frames())

    def sent(self) -> list[Frame]:
        """Return the frames that the connection sends now."""
        return read_frames(self.sent_bytes())

    def block(self, fields: Iterable[tuple[bytes, bytes]]) -> bytes:
        """Return a header block."""
        return self.encoder.encode(list(fields))

    def headers(
        self, stream_id: int, fields: Iterable[tuple[bytes, bytes]] = GET, is_last: bool = True
    ) -> bytes:
        """Return a HEADERS frame."""
        flags = END_HEADERS | (END_STREAM if is_last else 0)
        return frame(HEADERS, flags, stream_id, self.block(fields))

    def decoded(self, block: bytes) -> list[tuple[bytes, bytes]]:
        """Return the fields of a block that the connection has sent."""
        return [(bytes(name), bytes(value)) for name, value in self.decoder.decode(block, raw=True)]

    def open(self, stream_id: int, is_last: bool = False) -> Http2Stream:
        """Open a stream with a GET or a POST, and forget that it happened."""
        self.feed(self.headers(stream_id, GET if is_last else POST, is_last))
        assert self.events[-1][:2] == ("request", stream_id)
        return self.owner.streams[stream_id]

    def respond(self, stream_id: int) -> None:
        """Send a whole response without a body, and forget that it happened."""
        self.connection.send_head(self.owner.streams[stream_id], OK_HEAD, True)
        self.sent()

    def goaway(self) -> tuple[int, int, bytes]:
        """Return last stream, code and reason of the GOAWAY that is sent now."""
        found = [sent for sent in self.sent() if sent.kind == GOAWAY]
        assert len(found) == 1
        payload = found[0].payload
        return int.from_bytes(payload[:4], "big"), int.from_bytes(payload[4:8], "big"), payload[8:]

    def resets(self) -> list[tuple[int, int]]:
        """Return stream and code of each RST_STREAM that is sent now."""
        return [
            (sent.stream_id, int.from_bytes(sent.payload, "big"))
            for sent in self.sent()
            if sent.kind == RST_STREAM
        ]


class Responder(Owner):
    """Responds to some requests at once, to some when they end, and resets others."""

    peer: Peer

    def on_request(self, stream: Http2Stream, head: bytes, is_repeated: bool) -> None:
        super().on_request(stream, head, is_repeated)
        if stream.id % 3 == 1:
            self.peer.connection.send_head(stream, OK_HEAD, False)
            self.peer.connection.send_data(stream, b"x" * 40_000, False)
            self.peer.connection.send_trailers(stream, b"a: b\r\n")
        elif stream.id % 3 == 2:
            self.peer.connection.reset(stream, 2)

    def on_data(self, stream: Http2Stream, data: bytes, is_last: bool) -> None:
        super().on_data(stream, data, is_last)
        self.peer.connection.consume(stream, len(data) // 2)
        if is_last and stream.id % 3 == 0:
            self.peer.connection.send_head(stream, OK_HEAD, True)


def play(limits: Http2Limits, pieces: Iterable[bytes]) -> tuple[list[Event], bytes, int, bool]:
    """Return the calls that a connection makes, what it sends after all bytes, and its state."""
    owner = Responder()
    peer = Peer(limits, owner, greets=False)
    owner.peer = peer
    peer.feed(*pieces)
    sent = peer.sent_bytes()
    return peer.events, sent, peer.connection.count_streams(), peer.connection.is_over
