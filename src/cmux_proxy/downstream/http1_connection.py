"""One connection of an HTTP/1 client: buffers what arrives, starts an exchange for each whole head.

One exchange at a time: pipelined requests wait here, and when enough bytes of them do, nothing more
is read. Neighbours: `relay/exchange.py` is what a head becomes, `lingering_close.py` ends a
connection on which the client still sends.
"""

from typing import Final

from mypy_extensions import mypyc_attr

from cmux_proxy.downstream.http1_request import Http1Request
from cmux_proxy.downstream.http1_response_writer import Http1ResponseWriter
from cmux_proxy.downstream.lingering_close import LingeringClose
from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.local_reply import Content, error_response, text_content
from cmux_proxy.http1.scan import skip_empty_lines
from cmux_proxy.http1.serialize import ADD_CLOSE
from cmux_proxy.net.busy_poll import FROM_CLIENT
from cmux_proxy.net.closing import reset
from cmux_proxy.net.flow_control import PEER_FULL, PIPELINE_FULL, UNSENT
from cmux_proxy.net.socket_queues import count_unsent
from cmux_proxy.net.stream import Stream
from cmux_proxy.net.timers import NEVER
from cmux_proxy.observe.record import Record
from cmux_proxy.relay import failures
from cmux_proxy.relay.accounting import log_unread_request
from cmux_proxy.relay.downstream import PIPELINE_LIMIT, AdmissionControl, Downstream
from cmux_proxy.relay.exchange import Exchange
from cmux_proxy.relay.exchange_pool import ExchangePool
from cmux_proxy.relay.failures import Failure
from cmux_proxy.relay.services import Services

# A connection counts as in use for this many seconds after a response; the ticker adds up to half
# a second.
_RECENTLY: Final = 1.0


@mypyc_attr(free_list_len=1)
class Http1Connection(Downstream):
    """A client's connection, from its first byte until it closes or becomes a tunnel."""

    __slots__ = (
        "_exchanges",
        "_is_closing",
        "_is_serving",
        "_is_write_paused",
        "_response_writer",
        "_searched",
        "_services",
        "_unsent",
        "exchange",
        "since",
    )

    def __init__(self, services: Services, exchanges: ExchangePool) -> None:
        self._response_writer = Http1ResponseWriter()
        super().__init__(self._response_writer)
        self._services = services
        self._exchanges = exchanges
        self.exchange: Exchange | None = None
        self._searched = 0
        # How many bytes the client had not read when they were counted last.
        self._unsent = 0
        self._is_serving = False
        self._is_closing = False
        self._is_write_paused = False
        # When it was accepted, in seconds of the loop's clock.
        self.since = 0.0

    def connection_made(self, transport: Stream) -> None:
        """Take the stream; its write buffer holds at most one write."""
        self.transport = transport
        self._response_writer.stream = transport
        self.reading.stream = transport
        transport.set_write_buffer_limits(high=0)
        services = self._services
        services.read_size.limit(transport, self)
        services.registry.clients.add(self)
        self.since = services.ticker.now
        self._restart_idle_timeout()
        services.registry.changed()
        if services.registry.is_refusing:
            self._close()
        elif services.admission is not None:
            self._check_admission(services.admission)

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
        services = self._services
        services.registry.clients.discard(self)
        if services.admission is not None:
            services.admission.leave(self.transport)
        exchange = self.exchange
        if exchange is not None:
            self.exchange = None
            exchange.client_gone()
        services.registry.changed()

    def pause_writing(self) -> None:
        """The client does not read: stop reading the upstream."""
        self._is_write_paused = True
        self._unsent = count_unsent(self.transport)
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
            self._refuse(failures.HEAD_TIMEOUT)
        elif self._has_read():
            self._restart_idle_timeout()
        else:
            self.transport.abort()

    def record_in_progress(self) -> Record | None:
        """Return the record of the exchange in progress, if there is one."""
        return None if self.exchange is None else self.exchange.record()

    def has_upstream(self) -> bool:
        """Return whether its exchange has a connection to an upstream."""
        return self.exchange is not None and self.exchange.has_upstream()

    def drain(self) -> None:
        """Close unless an exchange is in progress or a request has begun to arrive.

        A connection that is new, or that has just carried a response, stays open until requests are
        refused: on a busy machine its next request may have been sent already.
        """
        if self.exchange is not None or self.pipelined:
            return
        services = self._services
        # The deadline tells when it became idle, so that no request has to note the time.
        recently = services.ticker.now - _RECENTLY + services.timeouts.idle
        if services.registry.is_refusing or self.deadline < recently:
            self._close()

    def abort(self) -> None:
        """Abort the connection."""
        self.transport.abort()

    def peer_left(self) -> None:
        """Abort the connection, and with it the upstream's: the client has left unnoticed."""
        self.transport.abort()

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
        self._restart_idle_timeout()
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
            self._services.registry.clients.discard(self)
            LingeringClose(self._services, self.transport)

    def abort_request(self) -> None:
        """Close: the client has ended its connection before its request was complete."""
        self.exchange = None
        self._is_closing = True
        self._close_when_sent()

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
        self._services.registry.clients.discard(self)
        return self.transport

    def reply(self, failure: Failure, with_body: bool, keep: bool, content: Content) -> None:
        """Send the proxy's own response; without `keep`, close once the client has read it."""
        if self.exchange is None and self._services.observer is not None:
            log_unread_request(self._services.observer, self.address(), failure)
        fields = failure.fields if keep else failure.fields + ADD_CLOSE
        date = self._services.date()
        self.transport.write(
            error_response(failure.status, content, failure.error, date, with_body, fields)
        )
        if keep:
            self._response_writer.keeps_connection = True
            self.exchange_done()
        else:
            self.linger()

    def _refuse(self, failure: Failure) -> None:
        """Reply to a client whose request was not read, and close."""
        self.reply(failure, True, False, text_content(failure.text))

    def _check_admission(self, admission: AdmissionControl) -> None:
        """Refuse a client that may not connect; if many are refused, without a reply."""
        failure = admission.enter(self.transport)
        if failure is None:
            return
        if admission.is_crowded():
            self.transport.abort()
        else:
            self._refuse(failure)

    def _has_read(self) -> bool:
        """Return whether the client has read something since the last call."""
        before = self._unsent
        self._unsent = count_unsent(self.transport)
        return self._unsent < before

    def _restart_idle_timeout(self) -> None:
        self.deadline = self._services.ticker.now + self._services.timeouts.idle

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
        self._restart_idle_timeout()
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
        data = self.pipelined
        if data.startswith(b"\r"):
            # RFC 9112 section 2.2: empty lines before a request are skipped.
            data = self.pipelined = skip_empty_lines(data)
            if data in (b"", b"\r"):
                self._wait_for_head(0)
                return False
        services = self._services
        try:
            head = services.request_scanner.scan(data, self._searched)
        except BadMessage as error:
            self._refuse(failures.bad_request(error))
            return False
        if head is None:
            self._wait_for_head(len(data))
            return False
        self._searched = 0
        self.pipelined = b""
        self.deadline = NEVER
        self._response_writer.minor = head.minor
        exchange = self.exchange = self._exchanges.begin(self, Http1Request(head))
        exchange.start()
        return True

    def _wait_for_head(self, arrived: int) -> None:
        """Set the deadline of a partial head: from its first byte, not from empty lines."""
        if self.has_ended:
            self.transport.close()
            return
        if not self._searched:
            deadline = self._services.ticker.now + self._services.timeouts.head
            self.deadline = deadline if arrived else min(self.deadline, deadline)
        self._searched = arrived
