"""One request and all its responses: the order of events.

Composes the request half (`request.py`), the response half (`response.py`), the upstream's
connection (`upstream_lease.py`), the timeout (`progress_timeout.py`), what is logged
(`accounting.py`) and the ways to end (`exchange_end.py`). Here their events meet: what an event of
one side means for the other. `state.py` has the table of states.
"""

from mypy_extensions import mypyc_attr

from cmux_proxy.errors import RouteRefused, UpstreamUnavailable
from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.local_reply import CONNECTION_ESTABLISHED
from cmux_proxy.net.busy_poll import FROM_UPSTREAM
from cmux_proxy.net.closing import send_end
from cmux_proxy.net.flow_control import PEER_FULL
from cmux_proxy.observe.record import Record
from cmux_proxy.relay import failures
from cmux_proxy.relay.accounting import ExchangeLog
from cmux_proxy.relay.client_request import ClientRequest
from cmux_proxy.relay.downstream import Downstream
from cmux_proxy.relay.exchange_end import ExchangeEnd
from cmux_proxy.relay.progress_timeout import ProgressTimeout
from cmux_proxy.relay.request import RequestStream
from cmux_proxy.relay.response import COMPLETE, INCOMPLETE, SWITCHED, ResponseStream
from cmux_proxy.relay.services import Services
from cmux_proxy.relay.state import (
    AWAITING_HEAD,
    CONNECT,
    ENDED,
    REQUEST_DONE,
    REQUEST_HEAD,
    RESPONSE_BODY,
    RESPONSE_DONE,
)
from cmux_proxy.relay.upstream_lease import UpstreamLease
from cmux_proxy.upstream.connection import UpstreamConnection, UpstreamOwner


@mypyc_attr(free_list_len=1)
class Exchange(UpstreamOwner):
    """Carries one request from a client to its upstream, and the response back."""

    __slots__ = (
        "_client",
        "_end",
        "_log",
        "_services",
        "_timeout",
        "request_stream",
        "response_stream",
        "upstream",
    )

    def __init__(self, services: Services, client: Downstream, request: ClientRequest) -> None:
        self._services = services
        self._client = client
        stream = self.request_stream = RequestStream(services, client, request)
        self.response_stream = ResponseStream(services, client.writer, stream)
        upstream = self.upstream = UpstreamLease(services)
        log: ExchangeLog | None = None
        if services.observer is not None:
            log = ExchangeLog(
                services.observer, services.router, client, stream, self.response_stream
            )
        self._log = log
        self._timeout = ProgressTimeout(services, client, upstream, log)
        self._end = ExchangeEnd(services, client, stream, self.response_stream, upstream, log)

    def start(self) -> None:
        """Validate the request and send it on its way, or reply to it."""
        try:
            if self._services.registry.is_refusing:
                self._end.fail(failures.DRAINING)
                return
            self.request_stream.prepare()
            if self._log is not None:
                self._log.routed(self._services.ticker.now)
            if self.request_stream.request.mode == CONNECT:
                # An unused connection, before anything is sent: 200 says that it is established.
                self._wait_for_upstream(True)
            else:
                self._send_or_wait()
        except BadMessage as error:
            self.request_stream.state = REQUEST_HEAD
            self._end.fail(failures.bad_request(error))
        except RouteRefused as error:
            self._end.fail(failures.refused(error))
        except UpstreamUnavailable as error:
            self._end.fail(failures.unavailable(error))

    def _send_or_wait(self) -> None:
        """Send the request on an idle connection, or wait for a new one."""
        connection = self.upstream.take_idle(self.request_stream.target, self)
        if connection is None:
            self._wait_for_upstream(False)
            return
        self._send(connection)
        if self.request_stream.takes_body and self._client.has_ended:
            self._client.request_body_wanted()

    def _wait_for_upstream(self, needs_fresh: bool) -> None:
        """Wait for a connection; raise UpstreamUnavailable where there may be no more."""
        stream = self.request_stream
        self.upstream.wait(stream.target, self, stream.connect_retry, needs_fresh)
        stream.pause_if_large()

    def _send(self, connection: UpstreamConnection) -> None:
        """Send the head and the body bytes that have arrived, in one write."""
        if self._log is not None:
            self._log.is_reused = connection.has_served
        self.request_stream.send(connection.transport)
        timeouts = self._services.timeouts
        takes_body = self.request_stream.takes_body
        self._timeout.seconds = timeouts.body if takes_body else timeouts.response
        if self._client.has_ended:
            self._pass_end_on()
        self._timeout.restart()

    # The client

    def client_data(self, data: bytes) -> None:
        """Take bytes from the client; only while `request.takes_body`."""
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
        else:
            self._timeout.restart()

    def _request_done(self) -> None:
        """The last byte of the request was forwarded."""
        timeouts = self._services.timeouts
        response = self.response_stream
        is_awaiting = response.state == AWAITING_HEAD
        self._timeout.seconds = timeouts.response if is_awaiting else timeouts.response_idle
        if response.state == RESPONSE_DONE:
            # An upstream that did not read the body would take it for a request.
            response.upstream_persists = False
            self._end.complete(0.0)
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
            self.client_gone()
            self._client.abort_request()
        else:
            self._pass_end_on()

    def client_gone(self) -> None:
        """The client's connection is lost: drop the upstream's at once."""
        self._end.client_gone()

    def client_paused(self) -> None:
        """The client does not read: stop reading the upstream."""
        self._timeout.peer_paused()
        self.upstream.set_reading(False)

    def client_resumed(self) -> None:
        """The client reads again."""
        self._timeout.peer_resumed()
        self.upstream.set_reading(True)

    # The upstream

    def upstream_connected(self, connection: UpstreamConnection) -> None:
        """Send what has waited for the connection."""
        self.upstream.connected(connection)
        if self._log is not None and not connection.has_served:
            self._log.connected(connection.connect_seconds)
        if self.request_stream.request.mode == CONNECT:
            self._end.become_tunnel(CONNECTION_ESTABLISHED, b"")
            return
        self._send(connection)
        if self.request_stream.takes_body:
            self._client.request_body_wanted()

    def upstream_unavailable(self, error: UpstreamUnavailable) -> None:
        """Reply with the reason why there is no connection."""
        self.upstream.waiter = None
        if self.response_stream.state != ENDED:
            self._end.fail(failures.unavailable(error))

    def upstream_paused(self) -> None:
        """The upstream does not read: stop reading the client."""
        self._timeout.peer_paused()
        self._client.reading.stop(PEER_FULL)

    def upstream_resumed(self) -> None:
        """The upstream reads again."""
        self._timeout.peer_resumed()
        self._client.reading.resume(PEER_FULL)

    def upstream_data(self, data: bytes) -> None:
        """Take bytes of the response."""
        if self._services.busy_poll is not None:
            self._services.busy_poll.note(FROM_UPSTREAM)
        response = self.response_stream
        try:
            if response.state == RESPONSE_BODY:
                self._feed_response(data)
            elif response.state == AWAITING_HEAD:
                self._receive_response(data)
            else:
                self._end.leave_request_unread()
        except BadMessage as error:
            self._end.fail(failures.bad_response(self.request_stream.target, error))

    def _receive_response(self, data: bytes) -> None:
        """Take bytes of a head."""
        event = self.response_stream.receive(data)
        if event == SWITCHED:
            self._grant_switch()
            return
        if event == INCOMPLETE:
            return
        log = self._log
        if log is not None:
            log.response_started()
        is_request_done = self.request_stream.state == REQUEST_DONE
        if event == COMPLETE:
            # The clock need not be read again for an exchange that ends with its first byte.
            self._response_done(log.first_byte if log is not None and is_request_done else 0.0)
            return
        if is_request_done:
            self._timeout.seconds = self._services.timeouts.response_idle
        self._timeout.restart()

    def _feed_response(self, data: bytes) -> None:
        """Take bytes of a body."""
        connection = self.upstream.connection
        if connection is None:
            return
        self._timeout.restart()
        if self.response_stream.feed(data, connection.transport) == COMPLETE:
            self._response_done(0.0)

    def upstream_ended(self) -> None:
        """The upstream has sent its last byte."""
        self._lose_upstream()
        response = self.response_stream
        if response.state == AWAITING_HEAD:
            self._on_no_response()
        elif response.state == RESPONSE_DONE:
            self._end.leave_request_unread()
        elif response.ends_with_connection():
            response.finish()
            self._response_done(0.0)
        else:
            self._end.break_off()

    def upstream_lost(self, error: Exception | None) -> None:
        """The upstream's connection is gone without an orderly end."""
        self._lose_upstream()
        if self.response_stream.state == AWAITING_HEAD:
            self._on_no_response()
        elif self.response_stream.state == RESPONSE_DONE:
            self._end.leave_request_unread()
        else:
            self._end.break_off()

    def _lose_upstream(self) -> None:
        self.upstream.detach()
        self.response_stream.upstream_persists = False
        self.request_stream.takes_body = False

    def _on_no_response(self) -> None:
        """No response came: send the request again if that is safe, otherwise reply."""
        has_begun = self.response_stream.held != b""
        if self.upstream.is_reused and self.request_stream.may_be_sent_again() and not has_begun:
            if self._log is not None:
                self._log.retried()
                self._log.is_reused = False
            self.response_stream.upstream_persists = True
            self._retry()
        else:
            self._end.fail(failures.no_response(self.request_stream.target, has_begun))

    def _retry(self) -> None:
        """Wait for a connection that nothing has used."""
        try:
            self._wait_for_upstream(True)
        except UpstreamUnavailable as error:
            self._end.fail(failures.unavailable(error))

    # Time

    def deadline_passed(self) -> None:
        """No byte has moved for too long: of the request body, the response's head or body."""
        if not self._timeout.has_passed():
            return
        if self.request_stream.state == REQUEST_DONE:
            # Once the response has begun, it is broken off.
            self._end.fail(failures.response_timeout(self.request_stream.target))
        elif self.response_stream.state == RESPONSE_DONE:
            self._end.leave_request_unread()
        elif self._client.reading.is_stopped_for(PEER_FULL):
            self._end.fail(failures.write_timeout(self.request_stream.target))
        else:
            self._end.fail(failures.BODY_TIMEOUT)

    def _response_done(self, ended: float) -> None:
        """The last byte of the response was sent, at `ended` if that is known."""
        self.response_stream.state = RESPONSE_DONE
        self.response_stream.body = None
        if self.request_stream.state == REQUEST_DONE:
            self._end.complete(ended)
        elif not self.response_stream.upstream_persists:
            self._end.leave_request_unread()

    def _grant_switch(self) -> None:
        """Open the tunnel that the upstream has granted with its 101; raise BadMessage."""
        head = self.response_stream.switch
        if head is None:
            return
        self.request_stream.request.check_switch(head)
        if self.request_stream.state != REQUEST_DONE:
            raise BadMessage("a switch of protocols before the end of the request")
        rest = head.rest()
        self.response_stream.sent += head.end + len(rest)
        self._end.become_tunnel(head.whole(), rest)

    def _pass_end_on(self) -> None:
        """End our half towards the upstream, as its client has done towards us."""
        connection = self.upstream.connection
        if connection is not None and not self._client.pipelined:
            self.response_stream.upstream_persists = False
            send_end(connection.transport)

    # Inspection

    def record(self) -> Record | None:
        """Return the record of the exchange as it is now, if one is kept."""
        observer = self._services.observer
        return None if self._log is None or observer is None else self._log.record(observer.clock())

    def has_upstream(self) -> bool:
        """Return whether it has a connection to an upstream."""
        return self.upstream.connection is not None
