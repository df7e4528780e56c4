"""One request and all its responses: the order of steps, and how it ends.

How far either side is stands in two small enums, written only here, in one method for each event;
`_finish` is passed exactly once, by whichever event ends the exchange. Decisions come from
`http1`, replies from `failures.py`; `docs/concepts/exchange.md` has the table of states.
"""

import asyncio
from typing import Final

from cmux_proxy.errors import RouteRefused, UpstreamUnavailable
from cmux_proxy.http1 import rewrite
from cmux_proxy.http1.body import Body, LengthBody, new_body
from cmux_proxy.http1.delivery import KEEP, UNWRAP, WRAP, additions, delivery
from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.framing import request_framing, response_framing
from cmux_proxy.http1.head import RequestHead, ResponseHead
from cmux_proxy.http1.persistence import client_wants_more, upstream_allows_more
from cmux_proxy.http1.replies import CONNECTION_ESTABLISHED
from cmux_proxy.http1.switching import asks_upgrade, check_switch
from cmux_proxy.http1.target import (
    check_authority_form,
    check_expectation,
    check_host,
    forward_target,
)
from cmux_proxy.observe.outcome import Outcome
from cmux_proxy.relay import failures
from cmux_proxy.relay.client_side import ClientSide
from cmux_proxy.relay.context import Context
from cmux_proxy.relay.failures import Failure
from cmux_proxy.relay.pacing import PEER_FULL
from cmux_proxy.relay.tunnel import Tunnel
from cmux_proxy.routing.target import Target
from cmux_proxy.upstream.connection import UpstreamConnection, UpstreamOwner

# RequestSide
_R_HEAD: Final = 0  # not judged yet
_R_BODY: Final = 1  # the body is under way
_R_DONE: Final = 2  # its last byte was read

# ResponseSide
_WAITING: Final = 0  # no final response head yet
_BODY: Final = 1  # the head has left
_DONE: Final = 2  # the last byte has left
_SWITCHED: Final = 3  # the connections are a tunnel's
_OVER: Final = 4  # the exchange has ended; absorbs whatever comes late

# RFC 9110 section 9.2.2: what may be sent once more when a connection dies under it.
_IDEMPOTENT: Final = frozenset([b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"])


class Exchange(UpstreamOwner):
    """Carries one request from a client to its upstream, and the answer back."""

    __slots__ = (
        "_client",
        "_context",
        "_dialling",
        "_held",
        "_how",
        "_is_reused",
        "_outgoing",
        "_request",
        "_request_body",
        "_request_side",
        "_response_body",
        "_response_side",
        "_searched",
        "_target",
        "_upgrade",
        "_upstream",
        "_upstream_persists",
        "takes_body",
    )

    def __init__(self, context: Context, client: ClientSide, request: RequestHead) -> None:
        self._context = context
        self._client = client
        self._request = request
        self._request_side = _R_HEAD
        self._response_side = _WAITING
        # Whether the client's bytes can be taken now: they are body, and the upstream is there.
        self.takes_body = False
        self._target: Target
        self._upgrade = False
        self._upstream: UpstreamConnection | None = None
        self._upstream_persists = True
        self._is_reused = False
        self._dialling: asyncio.Task[None] | None = None
        self._request_body: Body | None = None
        self._response_body: Body | None = None
        # The head and first body bytes, while they may still have to be sent (again).
        self._outgoing = b""
        # An unfinished response head, and how much of it was searched for its end.
        self._held = b""
        self._searched = 0
        self._how = 0

    # The request

    def start(self) -> None:
        """Judge the request and send it on its way, or answer it."""
        try:
            if self._context.is_draining:
                self._fail(failures.DRAINING)
            elif self._request.method == b"CONNECT":
                self._start_connect()
            else:
                self._start_request()
        except BadMessage as error:
            self._request_side = _R_HEAD
            self._fail(failures.bad_request(error))
        except RouteRefused as error:
            self._fail(failures.refused(error))

    def _start_connect(self) -> None:
        request = self._request
        check_host(request)
        check_authority_form(request)
        context = self._context
        self._target = context.router.route(request.method, request.host, request.reported)
        self._request_side = _R_DONE
        self._client.early = request.buffer[request.end :]
        # Always a connection of its own: 200 means that the upstream has answered (section 9.3.6).
        self._dialling = context.dialer.start(self._target, self)

    def _start_request(self) -> None:
        request = self._request
        framing = request_framing(request)
        check_host(request)
        to = forward_target(request)
        if request.expect is not None:
            check_expectation(request)
        if request.upgrade is not None:
            self._upgrade = asks_upgrade(request)
        tail = self._take_first_body(framing)
        context = self._context
        target = self._target = context.router.route(request.method, request.host, request.reported)
        if to is None and request.minor and not self._upgrade:
            self._outgoing = rewrite.plain_request(request, tail)
        else:
            host = target.authority().encode("ascii")
            self._outgoing = rewrite.other_request(request, to, self._upgrade, host, tail)
        upstream = context.pool.lease(target)
        if upstream is None:
            self._dialling = context.dialer.start(target, self)
        else:
            upstream.owner = self
            self._send(upstream)

    def _take_first_body(self, framing: int) -> bytes:
        """Return what came of the body with the head; what lies behind it is for later."""
        request = self._request
        buffer = request.buffer
        if framing == 0:
            self._request_side = _R_DONE
            if request.end != len(buffer):
                self._client.early = buffer[request.end :]
            return b""
        body = self._request_body = new_body(framing, self._context.chunk_rules, False)
        tail = body.feed(buffer, request.end)
        self._request_side = _R_BODY
        if body.is_done:
            self._request_side = _R_DONE
            self._client.early = body.rest
        return tail

    def _send(self, upstream: UpstreamConnection) -> None:
        self._upstream = upstream
        self._is_reused = upstream.has_served
        upstream.transport.write(self._outgoing)
        if self._request_side != _R_DONE:
            self.takes_body = True
            self._outgoing = b""
        elif self._request.method not in _IDEMPOTENT:
            self._outgoing = b""
        if self._client.has_ended:
            self._pass_end_on()
        if self._context.timeouts.response_head is not None:
            self._client.deadline = self._context.ticker.now + self._context.timeouts.response_head

    def client_data(self, data: bytes) -> None:
        """Take bytes from the client; only while `takes_body`."""
        body = self._request_body
        upstream = self._upstream
        if body is None or upstream is None:
            return
        try:
            out = body.feed(data, 0)
        except BadMessage as error:
            self._fail(failures.bad_request(error))
            return
        if out:
            upstream.transport.write(out)
        if body.is_done:
            self._request_side = _R_DONE
            self.takes_body = False
            self._client.early = body.rest
            if self._response_side == _DONE:
                self._complete()

    def client_ended(self) -> None:
        """The client sends nothing more: after a complete request, it still gets its answer."""
        if self._request_side != _R_DONE:
            self.client_gone()
            self._client.cut(False)
        elif self._upstream is not None:
            self._pass_end_on()

    def _pass_end_on(self) -> None:
        # The upstream sees what it would see without a proxy: that its client has ended, or left.
        upstream = self._upstream
        if upstream is not None and not self._client.early:
            self._upstream_persists = False
            upstream.transport.write_eof()

    def client_gone(self) -> None:
        """The client's connection is lost: drop the upstream's at once."""
        self._drop_upstream()
        self._finish(Outcome.CLIENT_GONE)

    def client_paused(self) -> None:
        """The client does not read: nor do we."""
        if self._upstream is not None:
            self._upstream.set_reading(False)

    def client_resumed(self) -> None:
        """The client reads again."""
        if self._upstream is not None:
            self._upstream.set_reading(True)

    # The upstream

    def upstream_connected(self, connection: UpstreamConnection) -> None:
        """Send what has waited for the connection."""
        self._dialling = None
        if self._response_side == _OVER:
            connection.abort()
            return
        connection.owner = self
        if self._request.method == b"CONNECT":
            self._upstream = connection
            self._switch(CONNECTION_ESTABLISHED, b"")
            return
        self._send(connection)
        if self.takes_body:
            self._client.body_wanted()

    def upstream_unavailable(self, error: UpstreamUnavailable) -> None:
        """Answer with what the dial met."""
        self._dialling = None
        if self._response_side != _OVER:
            self._fail(failures.unavailable(error))

    def upstream_paused(self) -> None:
        """The upstream does not read: nor do we."""
        self._client.hold_reading(PEER_FULL)

    def upstream_resumed(self) -> None:
        """The upstream reads again."""
        self._client.release_reading(PEER_FULL)

    def upstream_data(self, data: bytes) -> None:
        """Take bytes of a response."""
        try:
            if self._response_side == _BODY:
                self._relay(data)
            elif self._response_side == _WAITING:
                self._receive(self._held + data if self._held else data)
            else:
                self._leave_request_unread()
        except BadMessage as error:
            self._fail(failures.bad_response(self._target, error))

    def upstream_ended(self) -> None:
        """The upstream has sent its last byte."""
        self._lose_upstream()
        if self._response_side == _WAITING:
            self._miss_answer()
        elif self._response_side == _DONE:
            self._leave_request_unread()
        elif self._response_body is not None and self._response_body.ends_with_connection():
            if self._how & WRAP:
                self._client.transport.write(rewrite.LAST_CHUNK)
            self._response_done()
        else:
            self._break_off()

    def upstream_lost(self, error: Exception | None) -> None:
        """The upstream's connection is gone without an orderly end."""
        self._lose_upstream()
        if self._response_side == _WAITING:
            self._miss_answer()
        elif self._response_side == _DONE:
            self._leave_request_unread()
        else:
            self._break_off()

    def deadline_passed(self) -> None:
        """The upstream has not begun to answer in time."""
        if self._response_side == _WAITING:
            self._fail(failures.response_timeout(self._target))

    def _lose_upstream(self) -> None:
        if self._upstream is not None:
            self._upstream.owner = None
            self._upstream = None
        self._upstream_persists = False
        self.takes_body = False

    def _miss_answer(self) -> None:
        """No response came: send the request once more if that is safe, else say so."""
        if self._is_reused and self._outgoing and not self._held:
            self._is_reused = False
            self._upstream_persists = True
            self._dialling = self._context.dialer.start(self._target, self)
        else:
            self._fail(failures.broke(self._target, self._held != b""))

    # The response

    def _receive(self, data: bytes) -> None:
        """Forward interim responses; begin the final one once its head is complete."""
        while True:
            head = self._context.response_scanner.scan(data, self._searched)
            if head is None:
                self._held = data
                self._searched = len(data)
                return
            self._searched = 0
            self._held = b""
            if head.status >= 200:
                self._begin_response(head)
                return
            response_framing(head, self._request.method)
            if head.status == 101:
                self._grant_switch(head)
                return
            self._outgoing = b""
            # RFC 9110 section 15.2: HTTP/1.0 does not know interim responses.
            if self._request.minor:
                self._client.transport.write(rewrite.response(head, b"", False, b""))
            data = data[head.end :]
            if not data:
                return

    def _begin_response(self, head: ResponseHead) -> None:
        """Send the head with what came of the body, in one write."""
        request = self._request
        framing = response_framing(head, request.method)
        if self._upstream_persists and not upstream_allows_more(head, framing):
            self._upstream_persists = False
        may_persist = (
            (self._upstream_persists or self._request_side == _R_DONE)
            and client_wants_more(request)
            and not self._context.is_draining
        )
        how = self._how = delivery(request, framing, may_persist)
        unwrap = how & UNWRAP != 0
        body: Body | None = None
        arrived = len(head.buffer) - head.end
        if framing >= 0 and arrived <= framing:
            tail = head.buffer[head.end :]
            if arrived < framing:
                body = LengthBody(framing - arrived)
        else:
            body = new_body(framing, self._context.chunk_rules, unwrap)
            tail = body.feed(head.buffer, head.end)
            if how & WRAP and tail:
                tail = rewrite.chunk(tail)
            if body.is_done:
                self._end_body(body)
                body = None
        added = b"" if how == KEEP and request.minor else additions(request, how)
        self._response_side = _BODY
        self._client.transport.write(rewrite.response(head, added, unwrap, tail))
        if body is None:
            self._response_done()
        else:
            self._response_body = body

    def _relay(self, data: bytes) -> None:
        body = self._response_body
        if body is None:
            return
        out = body.feed(data, 0)
        if out:
            self._client.transport.write(rewrite.chunk(out) if self._how & WRAP else out)
        if body.is_done:
            self._end_body(body)
            self._response_done()

    def _end_body(self, body: Body) -> None:
        # RFC 9112 section 9.2: bytes that nobody asked for spoil the connection, not the answer.
        if body.rest:
            self._upstream_persists = False

    def _response_done(self) -> None:
        self._response_side = _DONE
        self._response_body = None
        if self._request_side == _R_DONE:
            self._complete()
        elif not self._upstream_persists:
            self._leave_request_unread()

    def _complete(self) -> None:
        """Both messages are whole: give the upstream's connection back, or close it."""
        upstream = self._upstream
        if upstream is not None:
            if not self._upstream_persists or (self._request_body is not None and upstream.transport.get_write_buffer_size()):
                upstream.close()
            else:
                upstream.release(self._context.ticker.now)
        client = self._client
        keep = self._how & KEEP != 0
        self._finish(Outcome.COMPLETE)
        client.exchange_done(keep)

    def _leave_request_unread(self) -> None:
        """The answer is whole, and nobody takes the rest of the request any more."""
        client = self._client
        self._drop_upstream()
        self._finish(Outcome.COMPLETE)
        client.linger()

    def _break_off(self) -> None:
        """The response cannot be completed: make sure that nobody takes it for complete."""
        client = self._client
        body = self._response_body
        by_close = body is not None and body.ends_with_connection() and not self._how & WRAP
        self._drop_upstream()
        self._finish(Outcome.BROKEN_OFF)
        client.cut(by_close or self._how & UNWRAP != 0)

    # The end

    def _grant_switch(self, head: ResponseHead) -> None:
        check_switch(self._request, head, self._upgrade)
        if self._request_side != _R_DONE:
            raise BadMessage("a switch of protocols amid the request")
        self._switch(head.buffer[: head.end], head.buffer[head.end :])

    def _switch(self, answer: bytes, from_upstream: bytes) -> None:
        """Hand both connections over to a tunnel."""
        upstream = self._upstream
        client = self._client
        if upstream is None:
            return
        upstream.set_reading(True)
        upstream.owner = None
        self._response_side = _SWITCHED
        tunnel = Tunnel(self._context, client.transport, upstream.transport)
        from_client = client.early
        client.leave()
        self._finish(Outcome.TUNNELLED)
        tunnel.open(answer, from_client, from_upstream, client.has_ended)

    def _fail(self, failure: Failure) -> None:
        """Answer with the failure, or cut the response if it has begun."""
        if self._response_side == _BODY or self._response_side == _DONE:
            self._break_off()
            return
        client = self._client
        request = self._request
        keep = (
            self._request_side == _R_DONE
            and request.method != b"CONNECT"
            and request.minor == 1
            and client_wants_more(request)
            and not self._context.is_draining
        )
        self._drop_upstream()
        self._finish(failure.outcome)
        client.reply(failure, request.method != b"HEAD", keep)

    def _drop_upstream(self) -> None:
        if self._dialling is not None:
            self._dialling.cancel()
            self._dialling = None
        if self._upstream is not None:
            self._upstream.abort()
            self._upstream = None

    def _finish(self, outcome: Outcome) -> None:
        """End the exchange; nothing reaches it any more."""
        self._response_side = _OVER
        self.takes_body = False
        self._upstream = None
        self._context.tally.add(outcome)
