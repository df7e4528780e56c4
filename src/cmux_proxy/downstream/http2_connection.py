"""A connection of an HTTP/2 client: owns its transport, and has its deadlines and its drain.

Neighbours: `http2_link.py` sends, `http2_requests.py` starts exchanges, `http2/` is the engine.
Does not know requests.
"""

from typing import Final

from cmux_proxy.downstream.http2_client import Http2Client
from cmux_proxy.downstream.http2_link import Http2Link
from cmux_proxy.downstream.http2_requests import Http2Requests
from cmux_proxy.downstream.lingering_close import LingeringClose
from cmux_proxy.http2.engine import Engine
from cmux_proxy.http2.error_codes import ENHANCE_YOUR_CALM, NO_ERROR
from cmux_proxy.http2.http2_limits import Http2Limits
from cmux_proxy.http2.server_connection import ServerConnection
from cmux_proxy.net.flow_control import PEER_FULL, ReadControl
from cmux_proxy.net.peer import peer_of
from cmux_proxy.net.socket_queues import count_unsent
from cmux_proxy.net.stream import Stream
from cmux_proxy.net.timers import NEVER, Timed, Unread
from cmux_proxy.relay.exchange_pool import ExchangePool
from cmux_proxy.relay.services import Services

# Seconds of silence after which a client with open streams has to answer a PING, and how long it
# may take for that.
PING_INTERVAL: Final = 30.0
PING_TIMEOUT: Final = 10.0
_PING: Final = b"cmux-pxy"


class Http2Connection(Timed):
    """A client's connection, from its preface on."""

    __slots__ = (
        "_engine", "_has_announced", "_has_ended", "_head_deadline", "_idle_since", "_is_pinged",
        "_is_refusing", "_link", "_reading", "_requests", "_services", "_unsent", "since",
        "transport",
    )  # fmt: skip

    def __init__(self, services: Services, exchanges: ExchangePool, transport: Stream) -> None:
        super().__init__()
        self._services = services
        self.transport = transport
        link = self._link = Http2Link(services.call_soon, transport, self._close_over)
        self._requests = Http2Requests(services, exchanges, link, self._last_ended)
        link.requests = self._requests
        self._engine = link.engine = ServerConnection(_engine_of(services), self._requests)
        self._reading = ReadControl()
        self._reading.stream = transport
        # Whether a PING waits for its answer, and how much the client had not read then, in bytes.
        self._is_pinged = False
        self._unsent = 0
        self._has_announced = False
        self._is_refusing = False
        self._has_ended = False
        # When the whole preface has to be there.
        self._head_deadline = NEVER
        # When the last stream has ended.
        self._idle_since = self.since = services.ticker.now

    def start(self, data: bytes, deadline: float) -> None:
        """Take the connection over, with the first bytes, which begin with the preface.

        The rest of the preface has to be there at `deadline`.
        """
        self._head_deadline = deadline
        self._requests.address = peer_of(self.transport)
        registry = self._services.registry
        registry.add_client(self)
        registry.budget.connections += 1
        registry.budget.opened += 1
        self._link.number = registry.budget.opened
        self.transport.set_protocol(self)
        self.data_received(data)

    # The transport

    def data_received(self, data: bytes) -> None:
        """Let the engine act on the bytes."""
        self._is_pinged = False
        self._link.receive(data, self._services.ticker.now)
        self._set_deadline()
        if not self._engine.may_read():
            self._reading.stop(PEER_FULL)

    def eof_received(self) -> bool:
        """The client sends nothing more: what it has asked for is still sent."""
        self._reading.note_end()
        self._has_ended = True
        self._requests.lose_incomplete()
        return self._engine.has_work()

    def connection_lost(self, error: Exception | None) -> None:
        """End all exchanges."""
        services = self._services
        self._leave()
        self._requests.lose_all()
        services.client_gone(self.transport)

    def pause_writing(self) -> None:
        """The client does not read."""
        self._link.pause()

    def resume_writing(self) -> None:
        """The client reads again, which is a sign of life too."""
        self._link.resume()
        if self._is_pinged:
            self.deadline = self._services.ticker.now + PING_TIMEOUT
        if self._engine.may_read():
            self._reading.resume(PEER_FULL)
        if self._has_ended and not self._engine.has_work():
            self._close()

    def _last_ended(self) -> None:
        """Go on with the idle timeout behind the last stream, or close where the proxy drains."""
        self._idle_since = self._services.ticker.now
        self._set_deadline()
        is_last = self._has_ended or self._services.registry.is_refusing
        if is_last and not (self._engine.is_over or self.transport.is_closing()):
            self._services.loop.call_soon(self._close)

    # Time

    def _set_deadline(self) -> None:
        """Set the time of the next PING or the idle timeout, and that of what arrives in part.

        No byte but the last of a frame or of a header block gives it more time.
        """
        engine = self._engine
        timeouts = self._services.timeouts
        if engine.count_streams():
            deadline = self._services.ticker.now + PING_INTERVAL
        else:
            deadline = self._idle_since + timeouts.idle
        partial_since = engine.partial_since
        if partial_since == NEVER:
            self._head_deadline = NEVER
        else:
            deadline = min(deadline, self._head_deadline, partial_since + timeouts.head)
        self.deadline = deadline

    def deadline_passed(self) -> None:
        """Ask a client with open streams whether it is there; close the connection otherwise."""
        if self.transport.is_closing():
            self.transport.abort()
        elif self._is_late():
            self._engine.fail(ENHANCE_YOUR_CALM, "a frame or a header block takes too long")
            self._link.flush()
        elif not self._engine.count_streams():
            self._close()
        elif not self._is_pinged:
            self._is_pinged = True
            self._engine.ping(_PING)
            self._link.flush()
            self._wait_for_answer()
        elif count_unsent(self.transport) < self._unsent:
            # The PING waits behind what a slow client reads.
            self._wait_for_answer()
        else:
            self.transport.abort()

    def _is_late(self) -> bool:
        """Return whether what has arrived in part should be whole."""
        head_timeout = self._services.timeouts.head
        deadline = min(self._head_deadline, self._engine.partial_since + head_timeout)
        return deadline <= self._services.ticker.now

    def _wait_for_answer(self) -> None:
        self._unsent = count_unsent(self.transport)
        self.deadline = self._services.ticker.now + PING_TIMEOUT

    def drain(self) -> None:
        """Ask the client to open no more streams; close once none is open and requests are refused.

        RFC 9113 section 6.8: first without a last stream, because requests may be on their way.
        """
        if not self._has_announced:
            self._has_announced = True
            self._engine.announce_drain()
            self._link.flush()
        if self._services.registry.is_refusing:
            self._refuse_streams()
            if not self._engine.count_streams():
                self._close()

    def _close(self) -> None:
        """Close with a GOAWAY, once all is sent, for which the client has the idle timeout."""
        self._refuse_streams()
        self.deadline = self._services.ticker.now + self._services.timeouts.idle
        self.transport.close()

    def _refuse_streams(self) -> None:
        """Send the last GOAWAY, once."""
        if not self._is_refusing:
            self._is_refusing = True
            self._requests.count_goaway(NO_ERROR)
            self._engine.refuse_streams()
        self._link.flush()

    def _close_over(self) -> None:
        """Close after a failure, once the client has read why."""
        if not self.transport.is_closing():
            self._leave()
            LingeringClose(self._services, self.transport)

    def address(self) -> str:
        """Return the client's address, as `peer_of` names it."""
        return self._requests.address

    def number(self) -> int:
        """Return what names it in lists."""
        return self._link.number

    def clients(self) -> list[Http2Client]:
        """Return the clients of its open streams."""
        return self._requests.clients()

    def _leave(self) -> None:
        registry = self._services.registry
        if self in registry.clients:
            registry.remove_client(self)
            registry.budget.connections -= 1

    def add_unread(self, unread: list[Unread]) -> None:
        """Add it while it is not read."""
        if self._reading.is_stopped():
            unread.append(Unread(self.transport, self.abort))

    def abort(self) -> None:
        """Abort the connection, and with it all exchanges."""
        self.transport.abort()


def _engine_of(services: Services) -> Engine:
    if services.http2 is None:
        limits = services.http2_limits
        services.http2 = Engine(
            Http2Limits(
                services.head_limits, limits.http2_streams, limits.http2_stream_window,
                limits.http2_connection_window,
            )
        )  # fmt: skip
    return services.http2
