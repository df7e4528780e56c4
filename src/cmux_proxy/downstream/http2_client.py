"""The client of one exchange over HTTP/2: one stream of a connection, as `relay` sees a client.

Body bytes become those of HTTP/1.1, chunked where no length is announced, so that bodies are judged
in one place. Neighbours: `http2_connection.py` and `http2_response_writer.py`.
"""

from cmux_proxy.downstream.http1_request import Http1Request
from cmux_proxy.downstream.http2_client_stream import Http2ClientStream, StreamCarrier
from cmux_proxy.downstream.http2_response_writer import Http2ResponseWriter
from cmux_proxy.downstream.http2_websocket import opening_head
from cmux_proxy.downstream.refusals import note_refusal, refuse
from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.serialize import encode_chunk
from cmux_proxy.http2.error_codes import CANCEL, INTERNAL_ERROR, REFUSED_STREAM
from cmux_proxy.http2.http2_stream import Http2Stream
from cmux_proxy.net.flow_control import PIPELINE_FULL
from cmux_proxy.net.stream import Stream
from cmux_proxy.net.timers import NEVER
from cmux_proxy.observe.record import HTTP_2
from cmux_proxy.relay.downstream import PIPELINE_LIMIT, Downstream
from cmux_proxy.relay.exchange import Exchange
from cmux_proxy.relay.exchange_pool import ExchangePool
from cmux_proxy.relay.failures import TOO_MANY_STREAMS, bad_request
from cmux_proxy.relay.services import Services


class Http2Client(Downstream):
    """One request of an HTTP/2 client, and the stream that it came on."""

    __slots__ = (
        "_exchanges", "_is_admitted", "_is_chunked", "_is_counted", "_is_tunnel",
        "_response_writer", "_services", "_unsent", "_waiting_request", "exchange",
        "http2_stream", "stream",
    )  # fmt: skip

    def __init__(
        self,
        services: Services,
        exchanges: ExchangePool,
        carrier: StreamCarrier,
        stream: Http2Stream,
        writer: Http2ResponseWriter,
        address: str,
    ) -> None:
        super().__init__(writer)
        self._services = services
        self._exchanges = exchanges
        self._response_writer = writer
        self.http2_stream = stream
        self._address = address
        self._is_chunked = False
        # How many bytes of a whole response waited for the client when they were counted last.
        self._unsent = 0
        self._is_admitted = False
        # Whether it is counted among the streams under way, and whether it is a tunnel by now.
        self._is_counted = False
        self._is_tunnel = False
        # The request until its exchange starts.
        self._waiting_request: Http1Request | None = None
        self.exchange: Exchange | None = None
        self.stream = Http2ClientStream(carrier, stream, self)
        self.attach(self.stream)

    def hold(self, request: Http1Request) -> None:
        """Keep a request whose head was scanned, and what follows it, until `start`."""
        self._waiting_request = request
        self._is_chunked = request.head.transfer_encoding is not None
        stream = self.http2_stream
        self.has_ended = stream.is_tunnel and stream.has_request_ended()

    def start(self) -> None:
        """Start the exchange of the request that is held, as soon as there is room."""
        request, services = self._waiting_request, self._services
        if request is None:
            return
        if services.admission is not None:
            failure = services.admission.enter_stream(self._address)
            if failure is not None:
                self._waiting_request = None
                refuse(services, self, failure, request)
                return
            self._is_admitted = True
        if services.registry.enter_stream():
            self._begin(request)
            return
        self.deadline = services.ticker.now + services.timeouts.connect
        if not services.registry.budget.wait(self, self._end_wait):
            self._refuse(request)

    def _end_wait(self) -> None:
        if self._waiting_request is not None:
            self._begin(self._waiting_request)

    def _begin(self, request: Http1Request) -> None:
        self._is_counted = True
        self._waiting_request = None
        self.deadline = NEVER
        exchange = self.exchange = self._exchanges.begin(self, request)
        exchange.start()
        self._pass_pipelined(exchange)

    def _pass_pipelined(self, exchange: Exchange) -> None:  # compiled code needs the scope
        if self.pipelined and self.exchange is exchange and exchange.request_stream.takes_body:
            self.request_body_wanted()

    def _refuse(self, request: Http1Request) -> None:
        """Reset the stream, so that the client may ask again (RFC 9113 section 8.7)."""
        self._leave()
        note_refusal(self._services, self, TOO_MANY_STREAMS, request)
        self.stream.reset(REFUSED_STREAM)

    def release(self) -> None:
        """Make room for another stream: this one is gone."""
        registry = self._services.registry
        if self._waiting_request is not None:
            self._waiting_request = None
            registry.budget.withdraw(self)
        if self._is_admitted and self._services.admission is not None:
            self._is_admitted = False
            self._services.admission.leave_stream(self._address)
        if self._is_counted:
            self._is_counted = False
            registry.leave_stream(self._is_tunnel)

    def protocol(self, minor: int) -> str:
        """Return the name of HTTP/2."""
        return HTTP_2

    # The client

    def data_received(self, data: bytes) -> None:
        """Pass body bytes on."""
        self._pass_on(encode_chunk(data) if self._is_chunked else data)

    def eof_received(self) -> bool:
        """Take the end of a body of unknown length, or the half-close of a tunnel."""
        if self._is_chunked:
            self._is_chunked = False
            self._pass_on(b"0\r\n" + self.stream.trailers + b"\r\n")
        elif self.http2_stream.is_tunnel:
            self.has_ended = True
            if self.exchange is not None:
                self.exchange.client_ended()
        return True

    def _pass_on(self, data: bytes) -> None:
        exchange = self.exchange
        if exchange is None:
            if self._waiting_request is not None:
                self.keep_pipelined(self.pipelined + data)
            return
        if exchange.request_stream.takes_body:
            exchange.client_data(data)
            return
        self.keep_pipelined(self.pipelined + data)
        if len(self.pipelined) > PIPELINE_LIMIT:
            exchange.pipelined_grows()

    def break_rule(self, error: BadMessage) -> None:
        """The client has broken a rule behind the head: that is a bad request too."""
        if self.exchange is not None:
            self.exchange.client_failed(error)
        elif self._waiting_request is not None:
            note_refusal(self._services, self, bad_request(error), self._waiting_request)

    def connection_lost(self, error: Exception | None) -> None:
        """End the exchange; one whose last frame has just been made is about to end by itself."""
        self._services.registry.streams.discard(self)
        if self.exchange is not None:
            if error is None:
                self._services.call_soon(self._lose_exchange)
            else:
                self._lose_exchange()

    def _lose_exchange(self) -> None:
        exchange = self.exchange
        if exchange is not None:
            self.exchange = None
            exchange.client_gone()

    def pause_writing(self) -> None:
        """Much of the response waits: stop reading the upstream."""
        if self.exchange is not None:
            self.exchange.client_paused()

    def resume_writing(self) -> None:
        """What waited has been sent."""
        if self.exchange is not None:
            self.exchange.client_resumed()

    def deadline_passed(self) -> None:
        """No byte has moved for too long; the client may take that long for a whole response."""
        if self._waiting_request is not None:
            self._refuse(self._waiting_request)
        elif self.exchange is not None:
            self.exchange.deadline_passed()
        elif self.http2_stream.pending_size < self._unsent:
            self._wait_until_sent()
        else:
            self.stream.reset(CANCEL)

    # The exchange

    def request_body_wanted(self) -> None:
        """Pass the bytes that have arrived to the exchange, which takes body bytes from now on."""
        pipelined = self.pipelined
        exchange = self.exchange
        self.reading.resume(PIPELINE_FULL)
        if pipelined and exchange is not None:
            self.pipelined = b""
            exchange.client_data(pipelined)

    def exchange_done(self) -> None:
        """End the response."""
        if self.exchange is not None:
            self._exchanges.take_back(self.exchange)
        self.linger()

    def linger(self) -> None:
        """End the response; the client need not send the rest (RFC 9113 section 8.1)."""
        self.exchange = None
        self._wait_until_sent()
        self._response_writer.end()
        self.stream.close()

    def _wait_until_sent(self) -> None:
        """Wait until the client has opened its windows for the rest of the response."""
        self._unsent = self.http2_stream.pending_size
        self.deadline = self._services.ticker.now + self._services.timeouts.idle

    def abort_response(self, ends_with_connection: bool) -> None:
        """Reset the stream, so that the client cannot take the response for complete."""
        self._leave()
        self.stream.reset(INTERNAL_ERROR)

    def accept_tunnel(self, response: bytes) -> bytes:
        """Open the tunnel with a 200 (RFC 9113 section 8.5, RFC 8441 section 5)."""
        self._response_writer.open_tunnel(opening_head(response))
        return b""

    def detach(self) -> Stream:
        """Give the stream up to a tunnel, and return it."""
        self._leave()
        self._is_tunnel = True
        self._services.registry.budget.tunnels += 1
        return self.transport

    def _leave(self) -> None:
        self.exchange = None
        self._services.registry.streams.discard(self)
