"""The client of one exchange over HTTP/2: one stream of a connection, as `relay` sees a client.

Body bytes become those of HTTP/1.1, chunked where no length is announced, so that the body of a
request is judged in one place. Neighbours: `http2_connection.py` has the connection,
`http2_response_writer.py` sends the response, `relay/exchange.py` is what the request becomes.
"""

from cmux_proxy.downstream.http1_request import Http1Request
from cmux_proxy.downstream.http2_client_stream import Http2ClientStream, StreamCarrier
from cmux_proxy.downstream.http2_response_writer import Http2ResponseWriter
from cmux_proxy.downstream.http2_websocket import opening_head
from cmux_proxy.http1.serialize import encode_chunk
from cmux_proxy.http2.error_codes import CANCEL, INTERNAL_ERROR
from cmux_proxy.http2.http2_stream import Http2Stream
from cmux_proxy.net.flow_control import PIPELINE_FULL
from cmux_proxy.net.stream import Stream
from cmux_proxy.relay.downstream import PIPELINE_LIMIT, Downstream
from cmux_proxy.relay.exchange import Exchange
from cmux_proxy.relay.exchange_pool import ExchangePool
from cmux_proxy.relay.services import Services


class Http2Client(Downstream):
    """One request of an HTTP/2 client, and the stream that it came on."""

    __slots__ = (
        "_exchanges", "_is_chunked", "_response_writer", "_services", "_unsent", "exchange",
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
        self.exchange: Exchange | None = None
        self.stream = Http2ClientStream(carrier, stream, self)
        self.attach(self.stream)

    def start(self, request: Http1Request) -> None:
        """Start the exchange of a request whose head was scanned."""
        self._is_chunked = request.head.transfer_encoding is not None
        self._services.registry.streams.add(self)
        exchange = self.exchange = self._exchanges.begin(self, request)
        exchange.start()

    # The client

    def data_received(self, data: bytes) -> None:
        """Pass body bytes on."""
        self._pass_on(encode_chunk(data) if self._is_chunked else data)

    def eof_received(self) -> bool:
        """Take the end of the request; without chunks, it was complete with its length.

        That of a tunnel is the client's half-close.
        """
        if self._is_chunked:
            self._is_chunked = False
            self._pass_on(b"0\r\n" + self.stream.trailers + b"\r\n")
        elif self.http2_stream.is_tunnel and self.exchange is not None:
            self.has_ended = True
            self.exchange.client_ended()
        return True

    def _pass_on(self, data: bytes) -> None:
        exchange = self.exchange
        if exchange is None:
            return
        if exchange.request_stream.takes_body:
            exchange.client_data(data)
            return
        self.keep_pipelined(self.pipelined + data)
        if len(self.pipelined) > PIPELINE_LIMIT:
            exchange.pipelined_grows()

    def connection_lost(self, error: Exception | None) -> None:
        """End the exchange."""
        self._services.registry.streams.discard(self)
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
        if self.exchange is not None:
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
        return self.transport

    def _leave(self) -> None:
        self.exchange = None
        self._services.registry.streams.discard(self)
