"""One connection of an HTTP/1 client: buffers what arrives, starts an exchange for each whole head.

One exchange at a time: pipelined requests wait here, and when enough bytes of them do, nothing more
is read. Neighbours: `request_head_reader.py` reads the heads and has the deadlines between two
exchanges, `relay/exchange.py` is what a head becomes, `http1_response_writer.py` sends responses,
`refusals.py` replies where there is no exchange, `lingering_close.py` ends the connection.
"""

from mypy_extensions import mypyc_attr

from cmux_proxy.downstream.http1_request import Http1Request
from cmux_proxy.downstream.http1_response_writer import Http1ResponseWriter
from cmux_proxy.downstream.lingering_close import LingeringClose
from cmux_proxy.downstream.protocol_start import switch_protocol
from cmux_proxy.downstream.refusals import check_admission, refuse, refuse_plain
from cmux_proxy.downstream.request_head_reader import RequestHeadReader
from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.net.busy_poll import FROM_CLIENT
from cmux_proxy.net.closing import reset
from cmux_proxy.net.flow_control import PEER_FULL, PIPELINE_FULL, UNSENT
from cmux_proxy.net.stream import Stream
from cmux_proxy.relay import failures
from cmux_proxy.relay.downstream import PIPELINE_LIMIT, Downstream
from cmux_proxy.relay.exchange import Exchange
from cmux_proxy.relay.exchange_pool import ExchangePool
from cmux_proxy.relay.services import Services


@mypyc_attr(free_list_len=1)
class Http1Connection(Downstream):
    """A client's connection, from its first byte until it closes or becomes a tunnel."""

    __slots__ = (
        "_exchanges", "_head_reader", "_is_closing", "_is_serving", "_is_write_paused",
        "_response_writer", "_services", "exchange", "since",
    )  # fmt: skip

    def __init__(self, services: Services, exchanges: ExchangePool) -> None:
        self._response_writer = Http1ResponseWriter()
        super().__init__(self._response_writer)
        self._services = services
        self._exchanges = exchanges
        self._head_reader = RequestHeadReader()
        self.exchange: Exchange | None = None
        self._is_serving = False
        self._is_closing = False
        self._is_write_paused = False
        # When it was accepted, in seconds of the loop's clock.
        self.since = 0.0

    def connection_made(self, transport: Stream) -> None:
        """Take the stream; its write buffer holds at most one write."""
        self.attach(transport)
        transport.set_write_buffer_limits(high=0)
        services = self._services
        services.read_size.limit(transport, self)
        services.registry.add_client(self)
        self.since = services.ticker.now
        self._head_reader.restart_idle_timeout(services, self)
        services.registry.changed()
        if services.registry.is_refusing:
            self._close()
        elif services.admission is not None:
            check_admission(services, self, services.admission)

    def data_received(self, data: bytes) -> None:
        """Pass body bytes to the exchange in progress, or keep the bytes for the next one."""
        if self._services.busy_poll is not None:
            self._services.busy_poll.note(FROM_CLIENT)
        exchange = self.exchange
        if exchange is None:
            self.pipelined = self.pipelined + data if self.pipelined else data
            self._serve_pipelined()
            if self._is_write_paused and self.pipelined:
                self.reading.stop(PIPELINE_FULL)
        elif exchange.request_stream.takes_body:
            exchange.client_data(data)
        else:
            self.keep_pipelined(self.pipelined + data)
            if len(self.pipelined) > PIPELINE_LIMIT:
                exchange.pipelined_grows()

    def eof_received(self) -> bool:
        """Keep the connection for the responses to complete requests; otherwise close it."""
        if self.has_ended:
            return True
        self.has_ended = True
        self.reading.note_end()
        exchange = self.exchange
        if exchange is not None:
            exchange.client_ended()
            return True
        if self.pipelined and not self._is_closing:
            # A partial head, or requests that wait until the client reads its responses.
            return self._is_write_paused
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """End the exchange, and leave the registry."""
        self._is_closing = True
        self._services.registry.remove_client(self)
        exchange = self.exchange
        if exchange is not None:
            self.exchange = None
            exchange.client_gone()
        self._services.client_gone(self.transport)

    def pause_writing(self) -> None:
        """The client does not read: stop reading the upstream."""
        self._is_write_paused = True
        self._response_writer.note_unsent()
        if self.exchange is not None:
            self.exchange.client_paused()

    def resume_writing(self) -> None:
        """The client reads again."""
        self._is_write_paused = False
        if self.exchange is not None:
            self.exchange.client_resumed()
        else:
            self.reading.resume(PIPELINE_FULL)
            self._serve_pipelined()

    def deadline_passed(self) -> None:
        """Reply 408 to a partial head, and close."""
        if self.exchange is not None:
            self.exchange.deadline_passed()
        elif self.pipelined and not self._is_write_paused:
            refuse(self._services, self, failures.HEAD_TIMEOUT)
        elif self._response_writer.note_unsent():
            self._head_reader.restart_idle_timeout(self._services, self)
        else:
            self.transport.abort()

    def drain(self) -> None:
        """Close unless an exchange is in progress or a request has begun to arrive.

        A connection that is new, or that has just carried a response, stays open until requests are
        refused: on a busy machine its next request may have been sent already.
        """
        if self.exchange is not None or self.pipelined:
            return
        services = self._services
        if services.registry.is_refusing or self._head_reader.has_waited(services, self):
            self._close()

    def request_body_wanted(self) -> None:
        """Pass the pipelined bytes to the exchange, which takes body bytes from now on."""
        pipelined = self.pipelined
        exchange = self.exchange
        self.reading.resume(PIPELINE_FULL)
        if pipelined and exchange is not None:
            self.pipelined = b""
            exchange.client_data(pipelined)
        if self.has_ended and exchange is not None and self.exchange is exchange:
            exchange.client_ended()

    def exchange_done(self) -> None:
        """Serve the next request, or close."""
        if self.exchange is not None:
            self._exchanges.take_back(self.exchange)
            self.exchange = None
        self.reading.resume(PEER_FULL | UNSENT)
        if not self._response_writer.keeps_connection:
            self._close()
            return
        self._head_reader.restart_idle_timeout(self._services, self)
        if self.pipelined:
            self._serve_pipelined()
        elif self.has_ended or self._services.registry.is_draining:
            self._close()
        self._read_more()

    def linger(self) -> None:
        """End our half; the client may still be sending."""
        self.exchange = None
        self._is_closing = True
        if self.has_ended:
            self._close_when_sent()
        elif not self.transport.is_closing():
            self._services.registry.remove_client(self)
            LingeringClose(self._services, self.transport)

    def abort_response(self, ends_with_connection: bool) -> None:
        """Close so that the client cannot take the response for complete.

        A plain close is the orderly end of a body that ends with the connection.
        """
        self.exchange = None
        self._is_closing = True
        if self._response_writer.needs_reset(ends_with_connection):
            reset(self.transport)
        else:
            self._close_when_sent()

    def detach(self) -> Stream:
        """Give the stream up to a tunnel, and return it."""
        self.exchange = None
        self._is_closing = True
        self._services.registry.remove_client(self)
        return self.transport

    def _read_more(self) -> None:
        """Read again unless many pipelined bytes wait for an exchange or for the client."""
        is_head_next = self.exchange is None and not self._is_write_paused
        if is_head_next or len(self.pipelined) <= PIPELINE_LIMIT:
            self.reading.resume(PIPELINE_FULL)

    def _close(self) -> None:
        self._is_closing = True
        if self.pipelined:
            self.linger()
        else:
            self._close_when_sent()

    def _close_when_sent(self) -> None:
        """Close when everything has been sent, for which the client has the idle timeout."""
        self._head_reader.restart_idle_timeout(self._services, self)
        self.transport.close()

    def _serve_pipelined(self) -> None:
        """Start exchanges with the bytes that have arrived, until one is in progress."""
        if self._is_serving:
            return
        self._is_serving = True
        while self.exchange is None and self.pipelined and not self._is_write_paused:
            if self._is_closing or not self._start_exchange():
                break
        self._is_serving = False

    def _start_exchange(self) -> bool:
        """Start an exchange if a complete head has arrived."""
        try:
            head = self._head_reader.read(self._services, self)
        except BadMessage as error:
            services = self._services
            if self._response_writer.keeps_connection or not switch_protocol(
                services, self, Http1Connection, self._exchanges
            ):
                refuse(services, self, failures.bad_request(error))
            return False
        if head is None:
            return False
        rule = self._services.plain_text
        if rule is not None and refuse_plain(self._services, self, rule, Http1Request(head)):
            return False
        self._response_writer.minor = head.minor
        exchange = self.exchange = self._exchanges.begin(self, Http1Request(head))
        exchange.start()
        return True
