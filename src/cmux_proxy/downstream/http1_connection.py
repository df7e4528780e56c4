"""One accepted connection, as asyncio callbacks: buffers what arrives, hands over whole heads.

One exchange at a time: requests that arrive early wait here, and when enough of them do, nothing
more is read.
Neighbours: `exchange.py` is what a head turns into, `closing.py` ends a connection that the
client still sends on.
"""

from typing import Final

from cmux_proxy.downstream.admission import Admission
from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.local_reply import Content, error_response, text_content
from cmux_proxy.http1.scan import skip_empty_lines
from cmux_proxy.http1.serialize import ADD_CLOSE
from cmux_proxy.net.busy_poll import FROM_CLIENT
from cmux_proxy.net.closing import LingeringClose, reset
from cmux_proxy.net.flow_control import EARLY_FULL, ENDED, PEER_FULL, UNSENT
from cmux_proxy.net.socket_queues import count_unsent
from cmux_proxy.net.stream import Stream
from cmux_proxy.net.timers import NEVER
from cmux_proxy.observe.record import Record
from cmux_proxy.relay import failures
from cmux_proxy.relay.accounting import tell_unread
from cmux_proxy.relay.downstream import EARLY_LIMIT, ClientSide
from cmux_proxy.relay.exchange import Exchange
from cmux_proxy.relay.failures import Failure
from cmux_proxy.relay.services import Context

# For so many seconds after an answer a connection counts as in use; the ticker adds up to half of
# one.
_RECENTLY: Final = 1.0


class ClientConnection(ClientSide):
    """A client's connection, from its first byte to its close or its becoming a tunnel."""

    __slots__ = (
        "_context",
        "_exchange",
        "_is_advancing",
        "_is_closing",
        "_searched",
        "_unsent",
        "since",
    )

    def __init__(self, context: Context) -> None:
        super().__init__()
        self._context = context
        self._exchange: Exchange | None = None
        self._searched = 0
        # How much it had not read when it stopped reading, or when its deadline passed last.
        self._unsent = 0
        self._is_advancing = False
        self._is_closing = False
        # When it came, in seconds of the loop's clock.
        self.since = 0.0

    def connection_made(self, transport: Stream) -> None:
        """Take the transport; never let it hold more than one write back."""
        self.transport = transport
        transport.set_write_buffer_limits(high=0)
        context = self._context
        context.read_size.limit(transport, self)
        context.clients.add(self)
        self.since = context.ticker.now
        self._idle()
        context.changed()
        if context.is_refusing:
            self._close()
        elif context.admission is not None:
            self._ask_admission(context.admission)

    def data_received(self, data: bytes) -> None:
        """Pass on the body of the exchange under way, or keep the bytes for what comes next."""
        if self._context.busy_poll is not None:
            self._context.busy_poll.note(FROM_CLIENT)
        exchange = self._exchange
        if exchange is None:
            self.early = self.early + data if self.early else data
            self._advance()
            if self.is_write_paused and self.early:
                self.hold_reading(EARLY_FULL)
        elif exchange.takes_body:
            exchange.client_data(data)
        else:
            self.keep_early(self.early + data)
            if len(self.early) > EARLY_LIMIT:
                exchange.save_room()

    def eof_received(self) -> bool:
        """Keep the connection for the answers to what was asked completely; else close it."""
        if self.has_ended:
            return True
        self.has_ended = True
        self._holds |= ENDED
        exchange = self._exchange
        if exchange is not None:
            exchange.client_ended()
            return True
        if self.early and not self._is_closing:
            # An unfinished head, or requests that wait until the client reads its answers.
            return self.is_write_paused
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """Let go of the exchange."""
        self._is_closing = True
        context = self._context
        context.clients.discard(self)
        if context.admission is not None:
            context.admission.leave(self.transport)
        exchange = self._exchange
        if exchange is not None:
            self._exchange = None
            exchange.client_gone()
        context.changed()

    def pause_writing(self) -> None:
        """The client does not read: stop what is written to it at its source."""
        self.is_write_paused = True
        self._unsent = count_unsent(self.transport)
        if self._exchange is not None:
            self._exchange.client_paused()

    def resume_writing(self) -> None:
        """The client reads again."""
        self.is_write_paused = False
        if self._exchange is not None:
            self._exchange.client_resumed()
        else:
            self.release_reading(EARLY_FULL)
            self._advance()

    def deadline_passed(self) -> None:
        """Answer 408 where a head has begun, and close."""
        if self._exchange is not None:
            self._exchange.deadline_passed()
        elif self.early and not self.is_write_paused:
            self._refuse(failures.HEAD_TIMEOUT)
        elif self._reads_on():
            self._idle()
        else:
            self.transport.abort()

    def under_way(self, now: float) -> Record | None:
        """Return what there is to tell of the exchange under way, if one is."""
        return None if self._exchange is None else self._exchange.record(now)

    def has_upstream(self) -> bool:
        """Return whether an upstream is connected for it."""
        return self._exchange is not None and self._exchange.has_upstream()

    def drain(self) -> None:
        """Close unless an exchange is under way or a request has begun to arrive.

        A connection that is new, or has carried an answer a moment ago, stays open until requests
        are refused: on a busy machine its next request may be on its way.
        """
        if self._exchange is not None or self.early:
            return
        context = self._context
        # The deadline says when it became idle, so nothing has to be noted for each request.
        long_ago = context.ticker.now - _RECENTLY + context.idle_timeout
        if context.is_refusing or self.deadline < long_ago:
            self._close()

    def abort(self) -> None:
        """Drop the connection at once."""
        self.transport.abort()

    def peer_left(self) -> None:
        """The client has gone unheard: drop the connection, and with it the upstream's."""
        self.transport.abort()

    def body_wanted(self) -> None:
        """The exchange takes body bytes from now on: give it those that came early."""
        early = self.early
        exchange = self._exchange
        self.release_reading(EARLY_FULL)
        if early and exchange is not None:
            self.early = b""
            exchange.client_data(early)
        if self.has_ended and exchange is not None and self._exchange is exchange:
            exchange.client_ended()

    def exchange_done(self, keep: bool) -> None:
        """The exchange has ended and its last byte was written: go on, or close."""
        self._exchange = None
        self.release_reading(PEER_FULL | UNSENT)
        if not keep:
            self._close()
            return
        self._idle()
        if self.early:
            self._advance()
        elif self.has_ended or self._context.is_draining:
            self._close()
        self._read_more()

    def linger(self) -> None:
        """End our half; the client may still be sending."""
        self._exchange = None
        self._is_closing = True
        if self.has_ended:
            self._close_once_read()
        elif not self.transport.is_closing():
            self._context.clients.discard(self)
            LingeringClose(self._context, self.transport)

    def cut(self, with_reset: bool) -> None:
        """Close amid a response, so that it cannot be taken for complete."""
        self._exchange = None
        self._is_closing = True
        if with_reset:
            reset(self.transport)
        else:
            self._close_once_read()

    def leave(self) -> None:
        """The connection has become a tunnel's."""
        self._exchange = None
        self._is_closing = True
        self._context.clients.discard(self)

    def reply(self, failure: Failure, with_body: bool, keep: bool, content: Content) -> None:
        """Send the proxy's own answer; without `keep`, close once the client has read it."""
        if self._exchange is None and self._context.observer is not None:
            tell_unread(self._context.observer, self.address(), failure)
        fields = failure.fields if keep else failure.fields + ADD_CLOSE
        date = self._context.date()
        self.transport.write(
            error_response(failure.status, content, failure.error, date, with_body, fields)
        )
        if keep:
            self.exchange_done(True)
        else:
            self.linger()

    def _refuse(self, failure: Failure) -> None:
        """Answer somebody of whom no request is known, and close."""
        self.reply(failure, True, False, text_content(failure.text))

    def _ask_admission(self, admission: Admission) -> None:
        """Turn away whom nobody here serves; where many are, without an answer."""
        failure = admission.enter(self.transport)
        if failure is None:
            return
        if admission.is_crowded():
            self.transport.abort()
        else:
            self._refuse(failure)

    def _reads_on(self) -> bool:
        """Return whether the client has read on since it was looked at last."""
        before = self._unsent
        self._unsent = count_unsent(self.transport)
        return self._unsent < before

    def _idle(self) -> None:
        self.deadline = self._context.ticker.now + self._context.idle_timeout

    def _read_more(self) -> None:
        """Read again unless many early bytes wait for an exchange to end or the client to read."""
        is_head_next = self._exchange is None and not self.is_write_paused
        if is_head_next or len(self.early) <= EARLY_LIMIT:
            self.release_reading(EARLY_FULL)

    def _close(self) -> None:
        self._is_closing = True
        if self.early:
            self.linger()
        else:
            self._close_once_read()

    def _close_once_read(self) -> None:
        """Close when all has left, for which a client that stops reading has its time."""
        self._idle()
        self.transport.close()

    def _advance(self) -> None:
        """Begin exchanges with what has arrived, until one is under way."""
        if self._is_advancing:
            return
        self._is_advancing = True
        while self._exchange is None and self.early and not self.is_write_paused:
            if self._is_closing or not self._begin():
                break
        self._is_advancing = False

    def _begin(self) -> bool:
        """Begin an exchange if a whole head is there."""
        data = self.early
        if data.startswith(b"\r"):
            # RFC 9112 section 2.2: empty lines before a request are passed over.
            data = self.early = skip_empty_lines(data)
            if data in (b"", b"\r"):
                self._wait_for_head(0)
                return False
        context = self._context
        try:
            head = context.request_scanner.scan(data, self._searched)
        except BadMessage as error:
            self._refuse(failures.bad_request(error))
            return False
        if head is None:
            self._wait_for_head(len(data))
            return False
        self._searched = 0
        self.early = b""
        self.deadline = NEVER
        exchange = Exchange(context, self, head)
        self._exchange = exchange
        exchange.start()
        return True

    def _wait_for_head(self, arrived: int) -> None:
        """Give an unfinished head its deadline: from its first byte, whatever empty lines came."""
        if self.has_ended:
            self.transport.close()
            return
        if not self._searched:
            deadline = self._context.ticker.now + self._context.head_timeout
            self.deadline = deadline if arrived else min(self.deadline, deadline)
        self._searched = arrived
