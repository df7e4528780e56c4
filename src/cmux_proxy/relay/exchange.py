"""One request and all its responses: how it starts, what its client does, and its timeout.

Composes the request half (`request.py`), the response half (`response.py`), the request at its
upstream (`upstream_request.py`), the timeout (`progress_timeout.py`), what is logged
(`accounting.py`) and the ways to end (`exchange_end.py`). `state.py` has the table of states.
"""

from cmux_proxy.errors import RouteRefused, UpstreamUnavailable
from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.net import splice
from cmux_proxy.net.flow_control import PEER_FULL
from cmux_proxy.observe.record import Record
from cmux_proxy.relay import failures
from cmux_proxy.relay.accounting import ExchangeLog
from cmux_proxy.relay.client_request import ClientRequest
from cmux_proxy.relay.downstream import Downstream
from cmux_proxy.relay.exchange_end import ExchangeEnd
from cmux_proxy.relay.progress_timeout import ProgressTimeout
from cmux_proxy.relay.request import RequestStream
from cmux_proxy.relay.response import ResponseStream
from cmux_proxy.relay.services import Services
from cmux_proxy.relay.state import AWAITING_HEAD, REQUEST_DONE, REQUEST_HEAD, RESPONSE_DONE
from cmux_proxy.relay.upstream_lease import UpstreamLease
from cmux_proxy.relay.upstream_request import UpstreamRequest


class Exchange:
    """Carries one request from a client to its upstream, and the response back.

    `exchange_pool.py` begins it again for another request once it has ended. So every call that may
    end it is the last thing that a method does.
    """

    __slots__ = (
        "_end",
        "_log",
        "_services",
        "_timeout",
        "_upstream_request",
        "next_spare",
        "request_stream",
        "response_stream",
        "upstream",
    )

    def __init__(self, services: Services) -> None:
        self._services = services
        # Belongs to the pool.
        self.next_spare: Exchange | None = None
        stream = self.request_stream = RequestStream(services)
        response = self.response_stream = ResponseStream(services, stream)
        upstream = self.upstream = UpstreamLease(services)
        log: ExchangeLog | None = None
        if services.observer is not None:
            log = ExchangeLog(services.observer, services.router, stream, response)
        self._log = log
        timeout = self._timeout = ProgressTimeout(services, stream, response, upstream, log)
        end = self._end = ExchangeEnd(services, stream, response, upstream, log)
        self._upstream_request = UpstreamRequest(
            services, stream, response, upstream, timeout, end, log
        )

    def begin(self, client: Downstream, request: ClientRequest) -> None:
        """Take the request of a client; `start` sends it on its way."""
        self.request_stream.begin(client, request)
        self.response_stream.begin(client.writer)
        self._timeout.begin()
        if self._log is not None:
            self._log.begin()

    def clear(self) -> None:
        """Release everything that belongs to the request, now that it has ended."""
        self.request_stream.clear()
        self.response_stream.clear()

    def start(self) -> None:
        """Validate the request and send it on its way, or reply to it."""
        try:
            if self._services.registry.is_refusing:
                self._end.fail(failures.DRAINING)
                return
            self.request_stream.prepare()
            if self._log is not None:
                self._log.routed(self._services.ticker.now)
            self._upstream_request.start()
        except BadMessage as error:
            self.request_stream.state = REQUEST_HEAD
            self._end.fail(failures.bad_request(error))
        except RouteRefused as error:
            self._end.fail(self._services.health.response(self.request_stream.request, error))
        except UpstreamUnavailable as error:
            self._end.fail(failures.unavailable(error))

    # The client

    def client_data(self, data: bytes) -> None:
        """Take bytes from the client; only while `request_stream.takes_body`."""
        connection = self.upstream.connection
        if connection is None:
            return
        try:
            is_complete = self.request_stream.feed(data, connection.transport)
        except BadMessage as error:
            self._end.fail(failures.bad_request(error))
            return
        if is_complete:
            self._request_done()
            return
        self._timeout.restart()
        if len(data) >= splice.MIN_READ:
            count_moved = self._timeout.request_moved
            self.request_stream.start_transfer(connection.transport, count_moved, len(data))

    def _request_done(self) -> None:
        """The last byte of the request was forwarded."""
        timeouts = self._services.timeouts
        response = self.response_stream
        is_awaiting = response.state == AWAITING_HEAD
        self._timeout.seconds = timeouts.response if is_awaiting else timeouts.response_idle
        if response.state == RESPONSE_DONE:
            # An upstream that did not read the body would take it for a request.
            response.upstream_persists = False
            self._end.complete(None)
        else:
            self._timeout.restart()

    def pipelined_grows(self) -> None:
        """Many bytes wait behind the request: hold no large copy of it only to send it again."""
        if self.upstream.connection is not None:
            self.request_stream.release_copy()

    def client_ended(self) -> None:
        """The client sends nothing more: a complete request still gets its response."""
        if self.upstream.waiter is not None:
            # Its rest may be among the pipelined bytes, which `request_body_wanted` passes on.
            self.upstream.stop_retrying()
        elif self.request_stream.state != REQUEST_DONE:
            client = self.request_stream.client
            self.client_gone()
            client.linger()
        else:
            self._upstream_request.pass_end_on()

    def client_gone(self) -> None:
        """The client's connection is lost: drop the upstream's at once."""
        self._end.client_gone()

    def client_failed(self, error: BadMessage) -> None:
        """The client has broken a rule of its protocol in the middle of the request."""
        self._end.fail(failures.bad_request(error))

    def client_paused(self) -> None:
        """The client does not read: stop reading the upstream."""
        self._timeout.peer_paused()
        self.upstream.set_reading(False)

    def client_resumed(self) -> None:
        """The client reads again."""
        self._timeout.peer_resumed()
        self.upstream.set_reading(True)

    # Time

    def deadline_passed(self) -> None:
        """No byte has moved for too long: of the request body, the response's head or body."""
        if not self._timeout.has_passed():
            return
        stream = self.request_stream
        if stream.state == REQUEST_DONE:
            # Once the response has begun, it is broken off.
            self._end.fail(failures.response_timeout(stream.target))
        elif self.response_stream.state == RESPONSE_DONE:
            self._end.leave_request_unread()
        elif stream.client.reading.is_stopped_for(PEER_FULL):
            self._end.fail(failures.write_timeout(stream.target))
        else:
            self._end.fail(failures.BODY_TIMEOUT)

    # Inspection

    def record(self) -> Record | None:
        """Return the record of the exchange as it is now, if one is kept."""
        observer = self._services.observer
        return None if self._log is None or observer is None else self._log.record(observer.now())

    def has_upstream(self) -> bool:
        """Return whether it has a connection to an upstream."""
        return self.upstream.connection is not None
