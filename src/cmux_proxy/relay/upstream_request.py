"""The request at its upstream: gets a connection, is sent, perhaps once more, and is responded to.

What the connection reports arrives here. Neighbours: `upstream_lease.py` holds the connection,
`response.py` reads the response, `exchange_end.py` has the ways to end.
"""

from cmux_proxy.errors import UpstreamUnavailable
from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.net import splice
from cmux_proxy.net.busy_poll import FROM_UPSTREAM
from cmux_proxy.net.closing import send_end
from cmux_proxy.net.flow_control import PEER_FULL
from cmux_proxy.relay import failures
from cmux_proxy.relay.accounting import ExchangeLog
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
    RESPONSE_BODY,
    RESPONSE_DONE,
)
from cmux_proxy.relay.upstream_lease import UpstreamLease
from cmux_proxy.upstream.connection import UpstreamConnection, UpstreamOwner
from cmux_proxy.upstream.stream_lost import broken_rule, is_unprocessed


class UpstreamRequest(UpstreamOwner):
    """Sends the request of one exchange, and acts on what its connection reports.

    The exchange may be over, and begun again, when a call of `ExchangeEnd` returns: such a call is
    the last thing that a method does.
    """

    __slots__ = (
        "_end", "_lease", "_log", "_request_stream", "_response_stream", "_services", "_timeout",
    )  # fmt: skip

    def __init__(
        self,
        services: Services,
        request_stream: RequestStream,
        response_stream: ResponseStream,
        lease: UpstreamLease,
        timeout: ProgressTimeout,
        end: ExchangeEnd,
        log: ExchangeLog | None,
    ) -> None:
        self._services = services
        self._request_stream = request_stream
        self._response_stream = response_stream
        self._lease = lease
        self._timeout = timeout
        self._end = end
        self._log = log

    def start(self) -> None:
        """Send the request on an idle connection, or wait for a new one.

        Raises UpstreamUnavailable where there may be no more connections.
        """
        stream = self._request_stream
        if stream.request.mode & CONNECT:
            # An unused connection, before anything is sent: 200 says that it is established.
            self._wait_for_connection(True)
            return
        connection = self._lease.take_idle(stream.target, self)
        if connection is None:
            self._wait_for_connection(False)
            return
        self._send(connection)
        if stream.takes_body and stream.client.has_ended:
            stream.client.request_body_wanted()

    def _wait_for_connection(self, needs_fresh: bool) -> None:
        """Wait for a connection; raise UpstreamUnavailable where there may be no more."""
        stream = self._request_stream
        self._lease.wait(stream.target, self, stream.connect_retry, needs_fresh)
        stream.pause_if_large()

    def _send(self, connection: UpstreamConnection) -> None:
        """Send the head and the body bytes that have arrived, in one write."""
        if self._log is not None:
            self._log.is_reused = connection.has_served
        stream = self._request_stream
        stream.send(connection.transport)
        self._timeout.seconds = stream.progress_seconds()
        if stream.client.has_ended:
            self.pass_end_on()
        self._timeout.restart()

    def pass_end_on(self) -> None:
        """End our half towards the upstream, as the client has done towards us."""
        connection = self._lease.connection
        if connection is not None and not self._request_stream.client.pipelined:
            self._response_stream.upstream_persists = False
            send_end(connection.transport)

    def upstream_connected(self, connection: UpstreamConnection) -> None:
        """Send what has waited for the connection."""
        self._lease.connected(connection)
        if self._log is not None and not connection.has_served:
            self._log.connected(connection.connect_seconds)
        stream = self._request_stream
        if stream.request.mode & CONNECT:
            self._end.open_tunnel()
            return
        self._send(connection)
        if stream.takes_body:
            stream.client.request_body_wanted()

    def upstream_unavailable(self, error: UpstreamUnavailable) -> None:
        """Reply with the reason why there is no connection."""
        self._lease.waiter = None
        if self._response_stream.state != ENDED:
            self._end.fail(failures.unavailable(error))

    def upstream_paused(self) -> None:
        """The upstream does not read: stop reading the client."""
        self._timeout.peer_paused()
        self._request_stream.client.reading.stop(PEER_FULL)

    def upstream_resumed(self) -> None:
        """The upstream reads again."""
        self._timeout.peer_resumed()
        self._request_stream.client.reading.resume(PEER_FULL)

    def upstream_data(self, data: bytes) -> None:
        """Take bytes of the response."""
        if self._services.busy_poll is not None:
            self._services.busy_poll.note(FROM_UPSTREAM)
        response = self._response_stream
        try:
            if response.state == RESPONSE_BODY:
                self._feed_response(data)
            elif response.state == AWAITING_HEAD:
                self._receive_response(data)
            else:
                self._end.leave_request_unread()
        except BadMessage as error:
            self._end.fail(failures.bad_response(self._request_stream.target, error, data))

    def _receive_response(self, data: bytes) -> None:
        """Take bytes of a head."""
        event = self._response_stream.receive(data)
        if event == SWITCHED:
            self._grant_switch()
            return
        if event == INCOMPLETE:
            return
        log = self._log
        if log is not None:
            log.response_started()
        is_request_done = self._request_stream.state == REQUEST_DONE
        if event == COMPLETE:
            # The clock need not be read again for an exchange that ends with its first byte.
            self._response_done(log.first_byte if log is not None and is_request_done else None)
            return
        if is_request_done:
            self._timeout.seconds = self._services.timeouts.response_idle
        self._timeout.restart()

    def _feed_response(self, data: bytes) -> None:
        """Take bytes of a body."""
        connection = self._lease.connection
        if connection is None:
            return
        self._timeout.restart()
        if self._response_stream.feed(data) == COMPLETE:
            self._response_done(None)
        elif len(data) >= splice.MIN_READ:
            count_moved = self._timeout.response_moved
            self._response_stream.start_transfer(connection.transport, count_moved, len(data))

    def _response_done(self, ended: object) -> None:
        """The last byte of the response was sent, at `ended` unless that is None."""
        response = self._response_stream
        response.state = RESPONSE_DONE
        response.body = None
        if self._request_stream.state == REQUEST_DONE:
            self._end.complete(ended)
        elif not response.upstream_persists:
            self._end.leave_request_unread()

    def _grant_switch(self) -> None:
        """Open the tunnel that the upstream has granted with its 101; raise BadMessage."""
        response = self._response_stream
        head = response.switch
        if head is None:
            return
        self._request_stream.request.check_switch(head)
        if self._request_stream.state != REQUEST_DONE:
            raise BadMessage("a switch of protocols before the end of the request")
        rest = head.rest()
        response.sent += head.end + len(rest)
        self._end.become_tunnel(head.whole(), rest)

    def upstream_ended(self) -> None:
        """The upstream has sent its last byte."""
        response = self._response_stream
        if response.ends_with_connection():
            self._lose_connection()
            response.finish()
            self._response_done(None)
        else:
            self.upstream_lost(None)

    def upstream_lost(self, error: Exception | None) -> None:
        """The upstream's connection is gone without an orderly end."""
        self._lose_connection()
        if self._response_stream.state == AWAITING_HEAD:
            self._on_no_response(error)
        elif self._response_stream.state == RESPONSE_DONE:
            self._end.leave_request_unread()
        else:
            self._end.break_off()

    def _lose_connection(self) -> None:
        self._lease.detach()
        self._response_stream.upstream_persists = False
        self._request_stream.takes_body = False

    def _on_no_response(self, error: Exception | None) -> None:
        """No response came: send the request again if that is safe, otherwise reply."""
        stream = self._request_stream
        has_begun = self._response_stream.held != b""
        is_safe = is_unprocessed(error)
        may_retry = is_safe or (self._lease.is_reused and not has_begun)
        if may_retry and stream.may_be_sent_again(is_safe):
            if self._log is not None:
                self._log.retried()
            self._response_stream.upstream_persists = True
            self._retry()
        else:
            self._end.fail(failures.no_response(stream.target, has_begun, broken_rule(error)))

    def _retry(self) -> None:
        """Wait for a connection that nothing has used."""
        try:
            self._wait_for_connection(True)
        except UpstreamUnavailable as error:
            self._end.fail(failures.unavailable(error))
