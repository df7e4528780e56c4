"""What an exchange reports when it has ended: numbers, and a record for the access log.

Exists only where an observer wants it. Does not know the bytes of either message.
"""

from collections.abc import Callable
from typing import Final, cast

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
    fit,
    path_of,
    shorten,
)
from cmux_proxy.relay import state
from cmux_proxy.relay.client_request import ClientRequest
from cmux_proxy.relay.failures import Failure
from cmux_proxy.relay.request import RequestStream
from cmux_proxy.relay.response import ResponseStream
from cmux_proxy.routing.router import Router
from cmux_proxy.routing.target import Target

# nginx's status for a client that closed its connection before its response began; never sent.
CLIENT_CLOSED: Final = 499

_TRACE: Final = b"traceparent"

# Read once, because a look-up in an enumeration runs interpreted code.
_COMPLETE: Final[int] = Outcome.COMPLETE.value
_TUNNELLED: Final[int] = Outcome.TUNNELLED.value


class ExchangeLog:
    """The times and the error of one exchange at a time.

    A time is a float as the observer's clock returns it, which is kept as an object because a line
    of the log takes it as one; `first_byte` is None until there is one.
    """

    __slots__ = (
        "_add_line",
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
        lines = observer.lines
        # Adds a line without a record, in a compiled build.
        self._add_line: Callable[..., object] | None = getattr(lines, "add", None)
        self.started: object = 0.0
        self.first_byte: object = None
        self.error = ""
        self.is_reused = False
        # The port's figures while the exchange counts as one in progress there.
        self._port: PortActivity | None = None

    def begin(self) -> None:
        """Note the time: an exchange begins."""
        self.started = self._observer.clock()
        self.first_byte = None
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

    def finish(self, outcome: int, ended: object) -> None:
        """Count the exchange and hand over its record; `ended` is None where it ends now."""
        observer = self._observer
        if not (observer.wants_all or outcome != _COMPLETE):
            return
        now = observer.clock() if ended is None else ended
        if observer.is_counting:
            self._count(cast(float, now))
        # A tunnel's record is handed over when the tunnel closes.
        if outcome == _TUNNELLED:
            return
        add_line = self._add_line
        if add_line is not None and not observer.wants(outcome):
            self._log_line(add_line, now)
        elif observer.lines is not None or observer.wants(outcome):
            record = self.record(cast(float, now))
            record.status = record.status or CLIENT_CLOSED
            record.outcome = outcome
            observer.take(record)

    def tunnel_record(self) -> Record:
        """Return the record of a tunnel that opens now."""
        now = self._observer.now()
        self.first_byte = now
        record = self.record(now)
        record.outcome = _TUNNELLED
        return record

    def _count(self, now: float) -> None:
        counts = self._observer.counts
        response = self._response_stream
        status = response.status or CLIENT_CLOSED
        started = cast(float, self.started)
        seconds = now - started
        series = counts.series(self._type(), self._request_stream.request.method, status)
        series.durations.add(seconds)
        if self.first_byte is not None:
            series.first_bytes.add(cast(float, self.first_byte) - started)
        if self.error:
            # Once a response has begun, its status is the upstream's.
            counts.failed(status if self.first_byte is None else 0, self.error)
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
        record = Record(self._type(), stream.client.address(), cast(float, self.started))
        record.ended = now
        if self.first_byte is not None:
            record.first_byte = cast(float, self.first_byte)
        record.method = shorten(request.method.decode("latin-1"), MAX_METHOD)
        record.path = path_of(request.request_target())
        record.protocol = stream.client.protocol(request.minor)
        record.status = self._response_stream.status
        if stream.is_routed:
            record.host, record.port, _ = stream.target
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

    def _log_line(self, add: Callable[..., object], now: object) -> None:
        """Log what the record would hold."""
        stream = self._request_stream
        request = stream.request
        response = self._response_stream
        target: Target | None = None
        workspace = ""
        if stream.is_routed:
            target = stream.target
            workspace = self._workspace()
        add(
            stream.client.address(), self._type(), request.method, request.request_line(),
            stream.client.protocol(request.minor), response.status or CLIENT_CLOSED, target,
            workspace, request.received, response.sent, self.started, self.first_byte, now,
            self.is_reused, self.error,
        )  # fmt: skip

    def _workspace(self) -> str:
        request = self._request_stream.request
        host = None if request.mode == state.CONNECT else request.host
        workspace = self._router.workspace_of(host, request.reserved)
        return workspace if not workspace else fit(workspace, MAX_WORKSPACE)

    def _type(self) -> str:
        mode = self._request_stream.request.mode
        if mode & state.CONNECT:
            return CONNECT
        return UPGRADE if mode == state.UPGRADE else REQUEST


def log_refusal(
    observer: Observer,
    client: str,
    failure: Failure,
    protocol: str = "",
    request: ClientRequest | None = None,
) -> None:
    """Log and count a reply to a client whose request was not served, and mostly not even read.

    `protocol` is empty where it is not known. A failure without a status is that of a handshake.
    """
    record = Record(REQUEST, client, observer.now())
    record.protocol = protocol
    if request is not None:
        record.method = shorten(request.method.decode("latin-1"), MAX_METHOD)
        record.path = path_of(request.request_target())
        record.received = request.received
    record.status = failure.status
    record.error = failure.error
    record.outcome = failure.outcome
    if observer.is_counting:
        if failure.status:
            observer.counts.failed(failure.status, failure.error)
        else:
            observer.counts.handshake_failed(failure.error)
    observer.take(record)
