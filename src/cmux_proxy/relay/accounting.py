"""What an exchange tells of itself when it has ended: numbers, and a record where one is wanted.

Costs nothing but a comparison where there is no observer.
"""

from typing import Final

from cmux_proxy.http1.field_lines import field_values
from cmux_proxy.observe.observer import Observer
from cmux_proxy.observe.outcome import Outcome
from cmux_proxy.observe.port_activity import PortActivity
from cmux_proxy.observe.record import (
    CONNECT,
    MAX_METHOD,
    MAX_TRACE,
    MAX_WORKSPACE,
    REQUEST,
    UPGRADE,
    Record,
    path_of,
    shorten,
)
from cmux_proxy.relay.failures import Failure
from cmux_proxy.relay.state import ExchangeState
from cmux_proxy.routing.target import Target

# What nginx made of a client that left before its answer began; it is never sent.
CLIENT_CLOSED: Final = 499

_TRACE: Final = b"traceparent"

_TUNNELLED: Final[int] = Outcome.TUNNELLED.value


class ExchangeLog(ExchangeState):
    """An exchange as its observer sees it."""

    __slots__ = ()

    def _begin_at(self, observer: Observer, target: Target) -> PortActivity:
        """Count a request that is under way to a port."""
        port = observer.ports.of(target)
        if not port.count:
            port.workspace = self._workspace()
        port.began(self._context.ticker.now)
        return port

    def _note_received(self, count: int) -> None:
        """Bytes have left the client without passing here."""
        self._received += count

    def _note_sent(self, count: int) -> None:
        """Bytes have left the upstream without passing here."""
        self._sent += count

    def _tell(self, observer: Observer, outcome: int) -> None:
        """The exchange is over: count it, and hand over its record if anybody wants it."""
        now = self._ended if self._ended else observer.clock()
        if observer.is_counting:
            self._count(observer, now)
        # What has become a tunnel has its record when that is closed.
        if outcome != _TUNNELLED and observer.wants(outcome):
            record = self.record(now)
            record.status = record.status or CLIENT_CLOSED
            record.outcome = outcome
            observer.take(record)

    def _count(self, observer: Observer, now: float) -> None:
        counts = observer.counts
        status = self._status or CLIENT_CLOSED
        seconds = now - self.started
        series = counts.series(self._kind(), self._request.method, status)
        series.durations.add(seconds)
        if self._first_byte:
            series.first_bytes.add(self._first_byte - self.started)
        if self._error:
            # Where an answer had begun, its status is the upstream's.
            counts.failed(0 if self._first_byte else status, self._error)
        received = float(self._received)
        sent = float(self._sent)
        counts.received += received
        counts.sent += sent
        if self._is_reused:
            counts.reused += 1.0
        port = self._port
        if port is not None:
            port.ended(status, seconds, received, sent)

    def record(self, now: float) -> Record:
        """Return what there is to tell by now, in seconds of the monotonic clock."""
        request = self._request
        record = Record(self._kind(), self._client.address(), self.started)
        record.ended = now
        record.first_byte = self._first_byte
        record.method = shorten(request.method.decode("latin-1"), MAX_METHOD)
        record.path = path_of(request.target)
        record.minor = request.minor
        record.status = self._status
        if self._is_routed:
            record.host, record.port = self._target
            record.workspace = self._workspace()
        record.received = self._received
        record.sent = self._sent
        record.is_reused = self._is_reused
        record.error = self._error
        observer = self._context.observer
        if observer is not None and observer.wants_trace:
            named = field_values(request.section(), _TRACE)
            if len(named) == 1 and len(named[0]) <= MAX_TRACE:
                record.trace = named[0].decode("latin-1")
        return record

    def _workspace(self) -> str:
        request = self._request
        host = None if request.method == b"CONNECT" else self._host
        named = self._context.router.workspace_of(host, request.fields.reserved)
        return shorten(named, MAX_WORKSPACE)

    def has_upstream(self) -> bool:
        """Return whether an upstream is connected for it."""
        return self._upstream is not None

    def _kind(self) -> str:
        if self._request.method == b"CONNECT":
            return CONNECT
        return UPGRADE if self._upgrade else REQUEST


def tell_unread(observer: Observer, client: str, failure: Failure) -> None:
    """Tell of an answer to a client whose request was not read."""
    record = Record(REQUEST, client, observer.clock())
    record.status = failure.status
    record.error = failure.error
    record.outcome = failure.outcome
    if observer.is_counting:
        observer.counts.failed(failure.status, failure.error)
    observer.take(record)
