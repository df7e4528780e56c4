"""One request and all its responses: the order of steps, and how it ends.

The request half is in `request.py`, the response half in `response.py`, what they share in
`state.py`; here they meet: what the events of either connection mean for the other, and the end.
`_finish` is passed exactly once, by whichever event ends the exchange. Decisions come from
`http1`, replies from `failures.py`; `docs/concepts/exchange.md` has the table of states.
"""

from typing import Final

from cmux_proxy.errors import UpstreamUnavailable
from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.head import ResponseHead
from cmux_proxy.http1.keep_alive import client_keeps_alive
from cmux_proxy.http1.local_reply import CONNECTION_ESTABLISHED
from cmux_proxy.http1.response_coding import KEEP, UNWRAP, WRAP
from cmux_proxy.http1.serialize import LAST_CHUNK
from cmux_proxy.http1.upgrade import check_upgrade_granted
from cmux_proxy.net.busy_poll import FROM_UPSTREAM
from cmux_proxy.net.flow_control import PEER_FULL
from cmux_proxy.observe.outcome import Outcome
from cmux_proxy.observe.record import Record
from cmux_proxy.relay import failures
from cmux_proxy.relay.error_content import presented
from cmux_proxy.relay.failures import REFUSED, Failure
from cmux_proxy.relay.request import RequestStream
from cmux_proxy.relay.state import OVER, REQUEST_DONE, RESPONSE_BODY, RESPONSE_DONE, WAITING
from cmux_proxy.relay.tunnel import Tunnel
from cmux_proxy.upstream.connection import UpstreamConnection

# RFC 9110 section 9.2.2: what may be sent once more when a connection dies under it.
_IDEMPOTENT: Final = frozenset([b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"])
_COMPLETE: Final[int] = Outcome.COMPLETE.value
_TUNNELLED: Final[int] = Outcome.TUNNELLED.value


class Exchange(RequestStream):
    """Carries one request from a client to its upstream, and the answer back."""

    __slots__ = ()

    # The client

    def client_ended(self) -> None:
        """The client sends nothing more: after a complete request, it still gets its answer."""
        if self._waiter is not None:
            # The rest of the request may have come early; `body_wanted` will tell.
            self._context.dialer.stop_retrying(self._waiter)
            return
        if self._request_side != REQUEST_DONE:
            self.client_gone()
            self._client.cut(False)
        elif self._upstream is not None:
            self._pass_end_on()

    def client_gone(self) -> None:
        """The client's connection is lost: drop the upstream's at once."""
        self._drop_upstream()
        self._finish(Outcome.CLIENT_GONE)

    def client_paused(self) -> None:
        """The client does not read: nor do we."""
        self._unsent = self._count_unsent()
        if self._upstream is not None:
            self._upstream.set_reading(False)

    def client_resumed(self) -> None:
        """The client reads again."""
        self._unsent = 0
        if self._upstream is not None:
            self._upstream.set_reading(True)

    # The upstream

    def upstream_connected(self, connection: UpstreamConnection) -> None:
        """Send what has waited for the connection."""
        self._waiter = None
        observer = self._context.observer
        if observer is not None and not connection.has_served:
            observer.counts.connects.add(connection.connect_seconds)
        if self._request.method == b"CONNECT":
            self._upstream = connection
            self._switch(CONNECTION_ESTABLISHED, b"")
            return
        self._send(connection)
        if self.takes_body:
            self._client.body_wanted()

    def upstream_unavailable(self, error: UpstreamUnavailable) -> None:
        """Answer with what kept it from a connection."""
        self._waiter = None
        if self._response_side != OVER:
            self._fail(failures.unavailable(error))

    def upstream_paused(self) -> None:
        """The upstream does not read: nor do we."""
        self._unsent = self._count_unsent()
        self._client.hold_reading(PEER_FULL)

    def upstream_resumed(self) -> None:
        """The upstream reads again."""
        self._unsent = 0
        self._client.release_reading(PEER_FULL)

    def upstream_data(self, data: bytes) -> None:
        """Take bytes of a response."""
        if self._context.busy_poll is not None:
            self._context.busy_poll.note(FROM_UPSTREAM)
        try:
            if self._response_side == RESPONSE_BODY:
                self._relay(data)
            elif self._response_side == WAITING:
                self._receive(self._held + data if self._held else data)
            else:
                self._leave_request_unread()
        except BadMessage as error:
            self._fail(failures.bad_response(self._target, error))

    def upstream_ended(self) -> None:
        """The upstream has sent its last byte."""
        self._lose_upstream()
        if self._response_side == WAITING:
            self._on_no_response()
        elif self._response_side == RESPONSE_DONE:
            self._leave_request_unread()
        elif self._response_body is not None and self._response_body.ends_with_connection():
            if self._how & WRAP:
                self._client.transport.write(LAST_CHUNK)
            self._response_done()
        else:
            self._break_off()

    def upstream_lost(self, error: Exception | None) -> None:
        """The upstream's connection is gone without an orderly end."""
        self._lose_upstream()
        if self._response_side == WAITING:
            self._on_no_response()
        elif self._response_side == RESPONSE_DONE:
            self._leave_request_unread()
        else:
            self._break_off()

    def deadline_passed(self) -> None:
        """Nothing has come for too long: of the request body, the response's head or its body."""
        unsent = self._count_unsent()
        if unsent < self._unsent:
            # Who reads slowly reads all the same.
            self._unsent = unsent
            self._expect_progress()
        elif self._request_side == REQUEST_DONE:
            # Amid the response, it is broken off.
            self._fail(failures.response_timeout(self._target))
        elif self._response_side == RESPONSE_DONE:
            self._leave_request_unread()
        elif self._client.is_held(PEER_FULL):
            self._fail(failures.write_timeout(self._target))
        else:
            self._fail(failures.BODY_TIMEOUT)

    def _lose_upstream(self) -> None:
        if self._upstream is not None:
            self._upstream.owner = None
            self._upstream = None
        self._upstream_persists = False
        self.takes_body = False

    def _on_no_response(self) -> None:
        """No response came: send the request once more if that is safe, else say so."""
        is_safe = self._outgoing != b"" and self._request.method in _IDEMPOTENT
        if self._is_reused and is_safe and not self._held:
            self._is_reused = False
            if self._context.observer is not None:
                self._context.observer.counts.retried += 1
            self._upstream_persists = True
            self._wait_again()
        else:
            self._fail(failures.broke(self._target, self._held != b""))

    def _wait_again(self) -> None:
        """Wait for a connection that nobody has used."""
        try:
            self._wait(True)
        except UpstreamUnavailable as error:
            self._fail(failures.unavailable(error))

    # The end

    def _response_done(self) -> None:
        self._response_side = RESPONSE_DONE
        self._response_body = None
        if self._request_side == REQUEST_DONE:
            self._complete()
        elif not self._upstream_persists:
            self._leave_request_unread()

    def _complete(self) -> None:
        """Both messages are whole: give the upstream's connection back, or close it."""
        upstream = self._upstream
        if upstream is not None:
            if not self._upstream_persists or (
                self._request_body is not None and upstream.transport.get_write_buffer_size()
            ):
                upstream.close()
            else:
                upstream.release(self._context.ticker.now)
        client = self._client
        keep = self._how & KEEP != 0
        self._finish(_COMPLETE)
        client.exchange_done(keep)

    def _leave_request_unread(self) -> None:
        """The answer is whole, and nobody takes the rest of the request any more."""
        client = self._client
        self._drop_upstream()
        self._finish(_COMPLETE)
        client.linger()

    def _break_off(self) -> None:
        """The response cannot be completed: make sure that nobody takes it for complete."""
        client = self._client
        body = self._response_body
        if not self._error:
            self._error = "http_response_incomplete"
        by_close = body is not None and body.ends_with_connection() and not self._how & WRAP
        self._drop_upstream()
        self._finish(Outcome.BROKEN_OFF)
        client.cut(by_close or self._how & UNWRAP != 0)

    def _grant_switch(self, head: ResponseHead) -> None:
        check_upgrade_granted(self._request, head, self._upgrade)
        if self._request_side != REQUEST_DONE:
            raise BadMessage("a switch of protocols amid the request")
        self._sent += len(head.buffer)
        self._switch(head.buffer[: head.end], head.buffer[head.end :])

    def _switch(self, answer: bytes, from_upstream: bytes) -> None:
        """Hand both connections over to a tunnel."""
        upstream = self._upstream
        client = self._client
        if upstream is None:
            return
        upstream.set_reading(True)
        upstream.owner = None
        self._status = 200 if self._request.method == b"CONNECT" else 101
        self._received += len(client.early)
        record: Record | None = None
        observer = self._context.observer
        if observer is not None:
            self._first_byte = observer.clock()
            record = self.record(self._first_byte)
            record.outcome = _TUNNELLED
        tunnel = Tunnel(self._context, client.transport, upstream.transport, self._target, record)
        from_client = client.early
        client.leave()
        self._finish(Outcome.TUNNELLED)
        tunnel.open(answer, from_client, from_upstream, client.has_ended)

    def _fail(self, failure: Failure) -> None:
        """Answer with the failure, or cut the response if it has begun and is not whole."""
        self._error = failure.error
        if self._response_side == RESPONSE_DONE:
            self._leave_request_unread()
            return
        if self._response_side == RESPONSE_BODY:
            self._break_off()
            return
        self._status = failure.status
        client = self._client
        request = self._request
        keep = (
            self._request_side == REQUEST_DONE
            and request.method != b"CONNECT"
            and request.minor == 1
            and client_keeps_alive(request)
            and not self._context.is_draining
        )
        # Only what was refused has a target for certain.
        target = self._target if failure.error == REFUSED else None
        content = presented(self._context, request, failure, target)
        self._drop_upstream()
        self._finish(failure.outcome)
        client.reply(failure, request.method != b"HEAD", keep, content)

    def _drop_upstream(self) -> None:
        if self._waiter is not None:
            self._context.dialer.cancel(self._waiter)
            self._waiter = None
        if self._upstream is not None:
            self._upstream.abort()
            self._upstream = None

    def _finish(self, outcome: int) -> None:
        """End the exchange; nothing reaches it any more."""
        self._response_side = OVER
        self.takes_body = False
        self._upstream = None
        self._context.tally.add(outcome)
        observer = self._context.observer
        if observer is not None and (observer.wants_all or outcome != _COMPLETE):
            self._tell(observer, outcome)
