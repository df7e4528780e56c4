"""What the engine of an HTTP/2 connection calls: starts an exchange for each request.

Neighbours: `http2_client.py` is the client of one exchange, `http2_connection.py` has the
connection. Does not know frames or windows.
"""

from collections.abc import Callable
from typing import cast

from cmux_proxy.downstream.http1_request import Http1Request
from cmux_proxy.downstream.http2_client import Http2Client
from cmux_proxy.downstream.http2_grpc import ask_for_http2
from cmux_proxy.downstream.http2_link import Http2Link, StreamRequests
from cmux_proxy.downstream.http2_response_writer import Http2ResponseWriter
from cmux_proxy.downstream.http2_websocket import WebSocketRequest, add_key, make_key
from cmux_proxy.downstream.refusals import refuse, refuse_plain
from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.head import RequestHead
from cmux_proxy.http2.error_codes import CANCEL, REFUSED_STREAM, error_name
from cmux_proxy.http2.http2_stream import Http2Stream
from cmux_proxy.observe.record import HTTP_2
from cmux_proxy.relay import failures
from cmux_proxy.relay.accounting import log_refusal
from cmux_proxy.relay.exchange_pool import ExchangePool
from cmux_proxy.relay.services import Services
from cmux_proxy.websocket.opening import PROTOCOL


class Http2Requests(StreamRequests):
    """Starts exchanges, and passes on what their clients do.

    `on_last_ended` is called whenever the last open stream is gone.
    """

    __slots__ = (
        "_exchanges", "_held", "_link", "_on_last_ended", "_repeated", "_services", "address",
    )  # fmt: skip

    def __init__(
        self,
        services: Services,
        exchanges: ExchangePool,
        link: Http2Link,
        on_last_ended: Callable[[], None],
    ) -> None:
        self._services = services
        self._exchanges = exchanges
        self._link = link
        self._on_last_ended = on_last_ended
        self._held: list[Http2Client] = []
        # The scanned head of the request that came more than once last.
        self._repeated: RequestHead | None = None
        self.address = ""

    def on_request(self, stream: Http2Stream, head: bytes, is_repeated: bool) -> None:
        """Hold a request for `start_held`; a head that HTTP/1.1 does not allow gets its status."""
        key = b""
        if stream.protocol:
            if stream.protocol.lower() != PROTOCOL:
                self.on_bad_request(stream, BadMessage("the protocol is not websocket", 501))
                return
            key = make_key()
            head = add_key(head, key)
        try:
            scanned = self._scan(head, is_repeated and len(key) == 0)
        except BadMessage as error:
            self.on_bad_request(stream, error)
            return
        request = WebSocketRequest(scanned, key) if key else Http1Request(scanned)
        if stream.is_grpc:
            ask_for_http2(request)
        client = self._client(stream)
        rule = self._services.plain_text
        if rule is None or not refuse_plain(self._services, client, rule, request):
            client.hold(request)
            self._held.append(client)

    def _scan(self, head: bytes, is_repeated: bool) -> RequestHead:
        """Return what a head says; raise BadMessage."""
        repeated = self._repeated
        if repeated is not None and repeated.buffer is head:
            return repeated
        scanned = self._services.request_scanner.scan(head, 0)
        if scanned is None:
            raise BadMessage("the head is incomplete")
        if is_repeated:
            self._repeated = scanned
        return scanned

    def start_held(self) -> None:
        """Start the exchanges of all requests that were read, except those that are gone again.

        A stream that is reset within the same read costs neither an exchange nor a dial.
        """
        if self._held:
            held = self._held
            self._held = []
            for client in held:
                client.start()

    def _client(self, stream: Http2Stream) -> Http2Client:
        writer = Http2ResponseWriter(self._link, stream)
        client = Http2Client(
            self._services, self._exchanges, self._link, stream, writer, self.address
        )
        stream.attachment = client
        self._services.registry.streams.add(client)
        return client

    def on_bad_request(self, stream: Http2Stream, error: BadMessage) -> None:
        """Respond with the status of the error."""
        refuse(self._services, self._client(stream), failures.bad_request(error))

    def on_refused(self, stream_id: int, code: int, rule: str) -> None:
        """Log a request whose stream was reset in place of a response."""
        if code == REFUSED_STREAM:
            self._log(failures.TOO_MANY_STREAMS)
        else:
            self._log(failures.bad_request(BadMessage(rule)))

    def _log(self, failure: failures.Failure) -> None:
        if self._services.observer is not None:
            log_refusal(self._services.observer, self.address, failure, HTTP_2)

    def on_data(self, stream: Http2Stream, data: bytes, is_last: bool) -> None:
        """Pass body bytes on."""
        if stream.attachment is not None:
            cast(Http2Client, stream.attachment).stream.receive(data, is_last)

    def on_trailers(self, stream: Http2Stream, lines: bytes) -> None:
        """Pass the trailers of a request on."""
        if stream.attachment is not None:
            cast(Http2Client, stream.attachment).stream.receive_trailers(lines)

    def on_reset(self, stream: Http2Stream, code: int, rule: str) -> None:
        """The client is gone, or has broken a rule."""
        client = cast(Http2Client, stream.attachment)
        if rule:
            client.break_rule(BadMessage(rule))
        client.stream.lose(ConnectionResetError("the stream was reset"))

    def on_closed(self, stream: Http2Stream) -> None:
        """Both directions have ended."""
        cast(Http2Client, stream.attachment).stream.lose(None)

    def forget(self, stream: Http2Stream) -> None:
        """A stream is gone; idempotent."""
        client = stream.attachment
        if client is not None:
            # Otherwise each would keep the other alive.
            stream.attachment = None
            cast(Http2Client, client).release()
            if self._link.engine.count_streams() == 0:
                self._on_last_ended()

    def clients(self) -> list[Http2Client]:
        """Return the clients of the open streams."""
        streams = self._link.engine.streams()
        return [
            cast(Http2Client, stream.attachment)
            for stream in streams
            if stream.attachment is not None
        ]

    def lose_incomplete(self) -> None:
        """Reset the streams whose requests will never be whole: the client has left."""
        for client in self.clients():
            stream = client.http2_stream
            if not stream.has_request_ended():
                self._link.reset(stream, CANCEL)
                self.on_reset(stream, CANCEL, "")

    def lose_all(self) -> None:
        """Report to all exchanges that their client is gone."""
        for client in self.clients():
            client.stream.lose(ConnectionResetError("the connection is gone"))

    def on_blocked(self, stream: Http2Stream) -> None:
        """Stop the response."""
        if stream.attachment is not None:
            cast(Http2Client, stream.attachment).stream.pause()

    def on_unblocked(self, stream: Http2Stream) -> None:
        """Let the response go on."""
        if stream.attachment is not None:
            cast(Http2Client, stream.attachment).stream.resume()

    def on_ping_answered(self, payload: bytes) -> None:
        """The connection sees that the client is there by any byte of it."""

    def on_goaway(self, last_stream_id: int, code: int) -> None:
        """The client opens no more streams, and closes when it has its responses."""

    def count_goaway(self, code: int) -> None:
        """Count the end of the connection by a GOAWAY."""
        observer = self._services.observer
        if observer is not None and observer.is_counting:
            observer.counts.goaway(error_name(code))

    def on_connection_fault(self, code: int, rule: str) -> None:
        """Log it, and end all exchanges; the connection closes once its GOAWAY is sent."""
        self._log(failures.bad_request(BadMessage(rule)))
        self.count_goaway(code)
        self.lose_all()
