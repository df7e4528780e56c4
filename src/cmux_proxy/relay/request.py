"""The request half of an exchange: judged, routed, and sent on as it arrives.

Everything that can be refused is refused here before a byte leaves for the upstream.
"""

from cmux_proxy.errors import RouteRefused, UpstreamUnavailable
from cmux_proxy.http1.body import request_body
from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.expectation import check_expectation
from cmux_proxy.http1.framing import request_framing
from cmux_proxy.http1.request_target import check_authority_form, check_host, forward_target
from cmux_proxy.http1.serialize import Edits, serialize_changed_request, serialize_request
from cmux_proxy.http1.upgrade import requests_upgrade
from cmux_proxy.net import splice
from cmux_proxy.net.closing import send_end
from cmux_proxy.net.flow_control import UNSENT
from cmux_proxy.relay import body_transfer, failures
from cmux_proxy.relay.downstream import EARLY_LIMIT
from cmux_proxy.relay.loop_detection import check_hops, hop_line
from cmux_proxy.relay.request_options import RequestOptions
from cmux_proxy.relay.response import ResponseStream
from cmux_proxy.relay.state import (
    REQUEST_BODY,
    REQUEST_DONE,
    REQUEST_HEAD,
    RESPONSE_DONE,
    WAITING,
)
from cmux_proxy.routing.router import PORT_NAME
from cmux_proxy.routing.target import HostTarget, Target
from cmux_proxy.upstream.connection import UpstreamConnection


class RequestStream(ResponseStream):
    """What an exchange does with its client's request."""

    __slots__ = ()

    def start(self) -> None:
        """Judge the request and send it on its way, or answer it."""
        try:
            if self._context.is_refusing:
                self._fail(failures.DRAINING)
            elif self._request.method == b"CONNECT":
                self._start_connect()
            else:
                self._start_request()
        except BadMessage as error:
            self._request_side = REQUEST_HEAD
            self._fail(failures.bad_request(error))
        except RouteRefused as error:
            self._fail(failures.refused(error))
        except UpstreamUnavailable as error:
            self._fail(failures.unavailable(error))

    def _start_connect(self) -> None:
        request = self._request
        check_host(request)
        check_authority_form(request)
        check_expectation(request)
        self._target = self._find_target(request.fields.host)
        self._request_side = REQUEST_DONE
        self._client.keep_early(request.buffer[request.end :])
        request.buffer = request.buffer[: request.end]
        # A connection of its own, and first of all: 200 says that the upstream has taken it.
        self._wait(True)

    def _start_request(self) -> None:
        request = self._request
        framing = request_framing(request)
        check_host(request)
        to = forward_target(request)
        check_expectation(request)
        if request.fields.upgrade is not None:
            self._upgrade = requests_upgrade(request)
        tail = self._take_first_body(framing)
        self._awaiting_continue = framing != 0 and request.fields.expect is not None
        context = self._context
        edits: Edits | None = None
        asked_host = request.fields.host if to is None else to.authority
        target = self._find_target(asked_host)
        self._target = target
        if (
            context.rewriter is not None
            or self._wished_host is not None
            or isinstance(target, HostTarget)
        ):
            edits = self._edit(asked_host)
        if to is None and request.minor and not self._upgrade and edits is None:
            self._outgoing = serialize_request(request, tail)
        else:
            host = target.authority().encode("ascii") if request.fields.host is None else b""
            self._outgoing = serialize_changed_request(
                request, to, self._upgrade, host, tail, edits
            )
        upstream = context.pool.lease(target)
        if upstream is not None and upstream.address is not None:
            upstream = context.dialer.revalidate(upstream)
        if upstream is None:
            self._wait(False)
        else:
            upstream.owner = self
            self._send(upstream)
            if self.takes_body and self._client.has_ended:
                self._client.body_wanted()

    def _wait(self, needs_fresh: bool) -> None:
        """Wait for a connection; raise UpstreamUnavailable where there may be no more."""
        dialer = self._context.dialer
        self._waiter = dialer.wait(self._target, self, self._dial_patience, needs_fresh)
        if len(self._outgoing) > EARLY_LIMIT:
            self._client.hold_reading(UNSENT)

    def _find_target(self, host: bytes | None) -> Target:
        """Return where the request may go; `host` is the one that it means, if any."""
        context = self._context
        request = self._request
        access = context.access
        if access is not None:
            access.check_request(request, host)
        reported = request.fields.reserved
        self._dial_patience = context.connect_retry
        self._host = host
        # Mostly there is just the port.
        if len(reported) > 1 or (reported and reported[0][0] != PORT_NAME):
            self._hear_wishes(reported)
        target = context.router.route(request.method, host, reported)
        if access is not None:
            access.check_target(target)
        self._is_routed = True
        observer = context.observer
        if observer is not None and observer.is_counting:
            self._port = self._begin_at(observer, target)
        return target

    def _hear_wishes(self, reported: tuple[tuple[bytes, bytes], ...]) -> None:
        check_hops(reported)
        wishes = RequestOptions(reported)
        most_wait = self._context.most_wait
        self._wished_host = wishes.host
        if wishes.wait is not None and most_wait:
            self._dial_patience = min(wishes.wait, most_wait)

    def _edit(self, host: bytes | None) -> Edits:
        """Return what changes in the request besides its cuts; `host` is the one that it means."""
        request = self._request
        target = self._target
        wished = self._wished_host
        rewriter = self._context.rewriter
        if rewriter is None:
            edits = Edits(wished)
        else:
            edits = rewriter.edits(request, host, target, wished, self._client.address())
        if isinstance(target, HostTarget):
            edits.added += hop_line(request.fields.reserved)
        return edits

    def _take_first_body(self, framing: int) -> bytes:
        """Return what came of the body with the head; what lies behind it is for later."""
        request = self._request
        buffer = request.buffer
        if framing == 0:
            self._request_side = REQUEST_DONE
            if request.end != len(buffer):
                self._client.keep_early(buffer[request.end :])
                request.buffer = buffer[: request.end]
            return b""
        body = self._request_body = request_body(framing, self._context.chunk_rules)
        tail = body.feed(buffer, request.end)
        self._received = len(buffer) - len(body.trailing_data)
        self._request_side = REQUEST_BODY
        if body.is_done:
            self._request_side = REQUEST_DONE
            self._client.keep_early(body.trailing_data)
        if len(buffer) > EARLY_LIMIT:
            # Much of it is kept twice, else.
            request.buffer = buffer[: request.end]
        return tail

    def _send(self, upstream: UpstreamConnection) -> None:
        """Send the head and what has come of the body, in one write."""
        self._upstream = upstream
        self._is_reused = upstream.has_served
        upstream.transport.write(self._outgoing)
        if len(self._outgoing) > EARLY_LIMIT:
            self._client.release_reading(UNSENT)
        if self._request_side != REQUEST_DONE:
            self.takes_body = True
            self._outgoing = b""
            self._patience = self._context.body_timeout
        else:
            self._patience = self._context.response_timeout
        if self._client.has_ended:
            self._pass_end_on()
        self._expect_progress()

    def save_room(self) -> None:
        """Much has come early: keep no large request only to be able to send it again."""
        if self._upstream is not None and len(self._outgoing) > EARLY_LIMIT:
            self._outgoing = b""

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
        self._received += len(data)
        if out:
            upstream.transport.write(out)
        if body.is_done:
            self._received -= len(body.trailing_data)
            self._request_side = REQUEST_DONE
            self.takes_body = False
            self._client.keep_early(body.trailing_data)
            self._patience = self._response_patience()
            if self._response_side == RESPONSE_DONE:
                # An upstream that did not read the body would take it for a request.
                self._upstream_persists = False
                self._complete()
                return
        elif len(data) >= splice.MIN_READ:
            body_transfer.start_transfer(
                self._context.conduit, self._client.transport, upstream.transport, body,
                self._note_received, len(data),
            )  # fmt: skip
        self._expect_progress()

    def _response_patience(self) -> float:
        """Return how long the response may not move once the request is whole."""
        context = self._context
        is_waiting = self._response_side == WAITING
        return context.response_timeout if is_waiting else context.response_idle

    def _pass_end_on(self) -> None:
        """Let the upstream see what it would see without a proxy: its client sends no more."""
        upstream = self._upstream
        if upstream is not None and not self._client.early:
            self._upstream_persists = False
            send_end(upstream.transport)
