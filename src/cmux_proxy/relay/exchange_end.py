"""How an exchange ends, exactly once: completed, broken off, with a reply, or as a tunnel.

Does not know which event ends it: `exchange.py` does. Neighbours: `failures.py` has the replies,
`tunnel.py` what goes on after CONNECT and upgrades.
"""

from typing import Final

from cmux_proxy.http1.local_reply import CONNECTION_ESTABLISHED
from cmux_proxy.net.stream import Stream
from cmux_proxy.observe.outcome import Outcome
from cmux_proxy.observe.record import Record
from cmux_proxy.relay.accounting import ExchangeLog
from cmux_proxy.relay.error_content import error_content
from cmux_proxy.relay.failures import REFUSED, Failure
from cmux_proxy.relay.request import RequestStream
from cmux_proxy.relay.response import ResponseStream
from cmux_proxy.relay.services import Services
from cmux_proxy.relay.state import CONNECT, ENDED, REQUEST_DONE, RESPONSE_BODY, RESPONSE_DONE
from cmux_proxy.relay.tunnel import Tunnel
from cmux_proxy.relay.upstream_lease import UpstreamLease
from cmux_proxy.relay.websocket_requests import opening_response
from cmux_proxy.relay.websocket_session import WebSocketSession
from cmux_proxy.relay.websocket_stream import WebSocketStream
from cmux_proxy.upstream.connection import UpstreamConnection

_COMPLETE: Final[int] = Outcome.COMPLETE.value


class ExchangeEnd:
    """Ends one exchange: releases the upstream, logs, and lets the client's connection go on."""

    __slots__ = (
        "_log",
        "_request_stream",
        "_response_stream",
        "_services",
        "_upstream",
    )

    def __init__(
        self,
        services: Services,
        request_stream: RequestStream,
        response_stream: ResponseStream,
        upstream: UpstreamLease,
        log: ExchangeLog | None,
    ) -> None:
        self._services = services
        self._request_stream = request_stream
        self._response_stream = response_stream
        self._upstream = upstream
        self._log = log

    def complete(self, ended: object) -> None:
        """Both messages are complete: release the upstream's connection, or close it.

        `ended` is the time by the observer's clock, None for now.
        """
        if not self._response_stream.upstream_persists or (
            self._request_stream.request.body is not None and self._upstream.unsent()
        ):
            self._upstream.close()
        else:
            self._upstream.release()
        self.finish(_COMPLETE, ended)
        self._request_stream.client.exchange_done()

    def leave_request_unread(self) -> None:
        """The response is complete, and the upstream takes no more of the request."""
        self._upstream.drop()
        self.finish(_COMPLETE, None)
        self._request_stream.client.linger()

    def client_gone(self) -> None:
        """The client's connection is lost: drop the upstream's at once."""
        self._upstream.drop()
        self.finish(Outcome.CLIENT_GONE, None)

    def break_off(self) -> None:
        """The response cannot be completed: make sure that the client can tell."""
        log = self._log
        if log is not None and not log.error:
            log.error = "http_response_incomplete"
        ends_with_connection = self._response_stream.ends_with_connection()
        self._upstream.drop()
        self.finish(Outcome.BROKEN_OFF, None)
        self._request_stream.client.abort_response(ends_with_connection)

    def fail(self, failure: Failure) -> None:
        """Reply with the failure, or break the response off if it has begun."""
        if self._log is not None:
            self._log.error = failure.error
        state = self._response_stream.state
        if state == RESPONSE_DONE:
            self.leave_request_unread()
        elif state == RESPONSE_BODY:
            self.break_off()
        else:
            self._reply(failure)

    def _reply(self, failure: Failure) -> None:
        self._response_stream.status = failure.status
        stream = self._request_stream
        request = stream.request
        keep = (
            stream.state == REQUEST_DONE
            and request.mode != CONNECT
            and request.minor == 1
            and request.allows_keep_alive()
            and not self._services.registry.is_draining
        )
        # Only a request whose target refused the connection has one for certain.
        target = stream.target if failure.error == REFUSED else None
        services, client = self._services, stream.client
        content = error_content(services, request, failure, target)
        self._upstream.drop()
        self.finish(failure.outcome, None)
        with_body = request.method != b"HEAD"
        client.writer.send_reply(failure, content, services.date(), with_body, keep)
        if keep:
            client.exchange_done()
        else:
            client.linger()

    def open_tunnel(self) -> None:
        """Open the tunnel that the client has asked us for: its upstream is there."""
        request = self._request_stream.request
        if request.mode == CONNECT:
            self.become_tunnel(CONNECTION_ESTABLISHED, b"")
            return
        connection = self._upstream.connection
        client = self._request_stream.client
        if connection is None:
            return
        response, has_half_close = opening_response(request)
        opening = client.accept_tunnel(response)
        session = WebSocketSession(self._services, client.transport, has_half_close)
        tunnel = self._join(WebSocketStream(session), connection)
        tunnel.open(b"", b"", b"", False)
        session.start(opening, client.pipelined, client.has_ended)

    def become_tunnel(self, response: bytes, from_upstream: bytes) -> None:
        """Hand both connections over to a tunnel, with the response that opens it."""
        connection = self._upstream.connection
        client = self._request_stream.client
        if connection is None:
            return
        from_client = client.pipelined
        self._request_stream.request.received += len(from_client)
        opening = client.accept_tunnel(response)
        tunnel = self._join(client.transport, connection)
        tunnel.open(opening, from_client, from_upstream, client.has_ended)

    def _join(self, client: Stream, connection: UpstreamConnection) -> Tunnel:
        """Return a tunnel of a client and the upstream's connection; the exchange is over."""
        stream = self._request_stream
        connection.set_reading(True)
        self._upstream.detach()
        self._response_stream.status = 200 if stream.request.mode == CONNECT else 101
        record: Record | None = None if self._log is None else self._log.tunnel_record()
        stream.client.detach()
        tunnel = Tunnel(self._services, client, connection.transport, stream.target, record)
        self.finish(Outcome.TUNNELLED, None)
        return tunnel

    def finish(self, outcome: int, ended: object) -> None:
        """Count and log the exchange: no event has an effect from now on."""
        self._response_stream.state = ENDED
        self._request_stream.takes_body = False
        self._services.tally.add(outcome)
        if self._log is not None:
            self._log.finish(outcome, ended)
