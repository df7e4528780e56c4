"""What an exchange reports when it has ended: numbers, and a record for the access log.

Exists only where an observer wants it. Does not know the bytes of either message.
"""

from typing import Final

from cmux_proxy.observe.line_block import LineBlock
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
from cmux_proxy.relay import state
from cmux_proxy.relay.failures import Failure
from cmux_proxy.relay.request import RequestStream
from cmux_proxy.relay.response import ResponseStream
from cmux_proxy.routing.router import Router

# nginx's status for a client that closed its connection before its response began; never sent.
CLIENT_CLOSED: Final = 499

_TRACE: Final = b"traceparent"

# Read once, because a look-up in an enumeration runs interpreted code.
_COMPLETE: Final[int] = Outcome.COMPLETE.value
_TUNNELLED: Final[int] = Outcome.TUNNELLED.value


class ExchangeLog:
    """The times and the error of one exchange at a time, in seconds of the observer's clock."""

    __slots__ = (
        "_observer",
        "_port",
        "_request_stream",
        "_response_stream",
        "_router",
        "error",
        "first_byte",
        "is_reused",
        "started",
    )

    def __init__(
        self,
        observer: Observer,
        router: Router,
        request_stream: RequestStream,
        response_stream: ResponseStream,
    ) -> None:
        self._observer = observer
        self._router = router
        self._request_stream = request_stream
        self._response_stream = response_stream
        self.started = 0.0
        self.first_byte = 0.0
        self.error = ""
        self.is_reused = False
        # The port's figures while the exchange counts as one in progress there.
        self._port: PortActivity | None = None

    def begin(self) -> None:
        """Note the time: an exchange begins."""
        self.started = self._observer.clock()
        self.first_byte = 0.0
        self.error = ""
        self.is_reused = False
        self._port = None

    def routed(self, now: float) -> None:
        """Count a request in progress at its port; `now` is in seconds of the loop's clock."""
        observer = self._observer
        if observer.is_counting:
            port = self._port = observer.ports.of(self._request_stream.target)
            if not port.count:
                port.workspace = self._workspace()
            port.began(now)

    def progressed(self, now: float) -> None:
        """Note that bytes have moved; `now` is in seconds of the loop's clock."""
        if self._port is not None:
            self._port.last_byte = now

    def response_started(self) -> None:
        """Note the time of the response's first byte, if it is of use."""
        if self._observer.wants_all:
            self.first_byte = self._observer.clock()

    def retried(self) -> None:
        """Count a request that is sent again, on a new connection."""
        self.is_reused = False
        self._observer.counts.retried += 1

    def connected(self, seconds: float) -> None:
        """Count a connection to an upstream that took this time to establish."""
        self._observer.counts.connects.add(seconds)

    def finish(self, outcome: int, ended: float) -> None:
        """Count the exchange and hand over its record; `ended` is 0.0 where it ends now."""
        observer = self._observer
        if not (observer.wants_all or outcome != _COMPLETE):
            return
        now = ended or observer.clock()
        if observer.is_counting:
            self._count(now)
        # A tunnel's record is handed over when the tunnel closes.
        if outcome == _TUNNELLED:
            return
        lines = observer.lines
        if lines is not None and lines.takes_fields and not observer.wants(outcome):
            self._put_line(lines, now)
        elif lines is not None or observer.wants(outcome):
            record = self.record(now)
            record.status = record.status or CLIENT_CLOSED
            record.outcome = outcome
            observer.take(record)

    def tunnel_record(self) -> Record:
        """Return the record of a tunnel that opens now."""
        self.first_byte = self._observer.clock()
        record = self.record(self.first_byte)
        record.outcome = _TUNNELLED
        return record

    def _count(self, now: float) -> None:
        counts = self._observer.counts
        response = self._response_stream
        status = response.status or CLIENT_CLOSED
        seconds = now - self.started
        series = counts.series(self._type(), self._request_stream.request.method, status)
        series.durations.add(seconds)
        if self.first_byte:
            series.first_bytes.add(self.first_byte - self.started)
        if self.error:
            # Once a response has begun, its status is the upstream's.
            counts.failed(0 if self.first_byte else status, self.error)
        received = float(self._request_stream.request.received)
        sent = float(response.sent)
        counts.received += received
        counts.sent += sent
        if self.is_reused:
            counts.reused += 1.0
        if self._port is not None:
            self._port.ended(status, seconds, received, sent)

    def record(self, now: float) -> Record:
        """Return the record as it is now."""
        stream = self._request_stream
        request = stream.request
        record = Record(self._type(), stream.client.address(), self.started)
        record.ended = now
        record.first_byte = self.first_byte
        record.method = shorten(request.method.decode("latin-1"), MAX_METHOD)
        record.path = path_of(request.request_target())
        record.minor = request.minor
        record.status = self._response_stream.status
        if stream.is_routed:
            record.host, record.port = stream.target
            record.workspace = self._workspace()
        record.received = request.received
        record.sent = self._response_stream.sent
        record.is_reused = self.is_reused
        record.error = self.error
        if self._observer.wants_trace:
            values = request.values(_TRACE)
            if len(values) == 1 and len(values[0]) <= MAX_TRACE:
                record.trace = values[0].decode("latin-1")
        return record

    def _put_line(self, lines: LineBlock, now: float) -> None:
        """Log what the record would hold."""
        stream = self._request_stream
        request = stream.request
        response = self._response_stream
        lines.put_fields(
            stream.client.address(), self._type(), request.method, request.request_line(),
            request.minor, response.status or CLIENT_CLOSED,
            stream.target if stream.is_routed else None,
            self._workspace() if stream.is_routed else "",
            request.received, response.sent, self.started, self.first_byte, now,
            self.is_reused, self.error,
        )  # fmt: skip

    def _workspace(self) -> str:
        request = self._request_stream.request
        host = None if request.mode == state.CONNECT else request.host
        workspace = self._router.workspace_of(host, request.reserved)
        return shorten(workspace, MAX_WORKSPACE)

    def _type(self) -> str:
        mode = self._request_stream.request.mode
        if mode == state.CONNECT:
            return CONNECT
        return UPGRADE if mode == state.UPGRADE else REQUEST


def log_unread_request(observer: Observer, client: str, failure: Failure) -> None:
    """Log a reply to a client whose request was not read."""
    record = Record(REQUEST, client, observer.clock())
    record.status = failure.status
    record.error = failure.error
    record.outcome = failure.outcome
    if observer.is_counting:
        observer.counts.failed(failure.status, failure.error)
    observer.take(record)
