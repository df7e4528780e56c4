"""The request half of an exchange: validates the request, routes it, forwards it as it arrives.

Everything that can be refused is refused here, before a byte is sent upstream. Does not know how a
connection to the upstream is found, nor what the end of the request means for either connection:
`exchange.py` does.
"""

from typing import Final

from cmux_proxy.errors import PortMissing
from cmux_proxy.http1.serialize import Edits
from cmux_proxy.net.flow_control import UNSENT
from cmux_proxy.net.splice import CountMoved
from cmux_proxy.net.stream import Stream
from cmux_proxy.relay import body_transfer
from cmux_proxy.relay.client_request import NO_REQUEST, ClientRequest
from cmux_proxy.relay.downstream import NO_CLIENT, PIPELINE_LIMIT, Downstream
from cmux_proxy.relay.loop_detection import check_hops, hop_line
from cmux_proxy.relay.request_options import RequestOptions
from cmux_proxy.relay.scheme_rules import plain, with_scheme
from cmux_proxy.relay.services import Services
from cmux_proxy.relay.state import (
    CONNECT,
    FORWARD,
    REQUEST_BODY,
    REQUEST_DONE,
    REQUEST_HEAD,
    UPGRADE,
)
from cmux_proxy.relay.websocket_requests import is_tunnel_by_field
from cmux_proxy.routing.router import PORT_NAME
from cmux_proxy.routing.target import HostTarget, Target

# RFC 9110 section 9.2.2: methods that may be sent again when a connection dies under them.
_IDEMPOTENT: Final = frozenset([b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"])


class RequestStream:
    """A client's request on its way to an upstream, one after another.

    `takes_body` says that body bytes may be fed now. `outgoing` is the head with the first body
    bytes while they may have to be sent, or sent again. `connect_retry` is for how many seconds a
    port that refuses is dialled again.
    """

    __slots__ = (
        "_host_override",
        "_scheme",
        "_services",
        "_wants_http2",
        "client",
        "connect_retry",
        "is_retried",
        "is_routed",
        "outgoing",
        "request",
        "state",
        "takes_body",
        "target",
    )

    def __init__(self, services: Services) -> None:
        self._services = services
        self.client = NO_CLIENT
        self.request = NO_REQUEST
        self.state = REQUEST_HEAD
        self.takes_body = False
        self.target: Target
        self.is_routed = False
        # Whether it was sent again because the upstream had not processed it.
        self.is_retried = False
        self.outgoing = b""
        self.connect_retry = 0.0
        self._host_override: bytes | None = None
        self._scheme: str | None = None
        self._wants_http2 = False

    def begin(self, client: Downstream, request: ClientRequest) -> None:
        """Take a request."""
        self.client = client
        self.request = request
        self.state = REQUEST_HEAD
        self.is_routed = False
        self.is_retried = False
        self._host_override = None
        self._scheme = None
        self._wants_http2 = False

    def clear(self) -> None:
        """Release the request: it has ended."""
        self.client = NO_CLIENT
        self.request = NO_REQUEST
        self.outgoing = b""

    def prepare(self) -> None:
        """Validate the request, find its target, and make what is sent to the upstream.

        Raises BadMessage or RouteRefused.
        """
        request = self.request
        rest = request.validate(self._services.chunk_rules)
        if len(rest) > 0:
            self.client.keep_pipelined(rest)
        self.state = REQUEST_DONE if request.is_complete() else REQUEST_BODY
        target = self._route()
        if not request.mode & CONNECT:
            edits: Edits | None = None
            if (
                self._services.rewriter is not None
                or self._host_override is not None
                or isinstance(target, HostTarget)
            ):
                edits = self._edits(target)
            self.outgoing = request.encode_http1(target, edits)

    def _route(self) -> Target:
        """Find the target of the request; raise RouteRefused."""
        services = self._services
        request = self.request
        access = services.access
        if access is not None:
            access.check_request(request)
        self.connect_retry = services.timeouts.connect_retry
        reserved = request.reserved
        # Most requests have the port field alone.
        if len(reserved) > 1 or (reserved and reserved[0][0] != PORT_NAME):
            self._read_options(reserved)
        try:
            target = services.router.route(request.method, request.host, reserved)
        except PortMissing:
            named = services.tunnel_requests.route_without_port(request)
            if named is None:
                raise
            target = named
        if request.mode == UPGRADE and is_tunnel_by_field(request, target):
            target = services.tunnel_requests.route(request)
        if request.mode & CONNECT:
            target = plain(target)
        elif self._scheme is not None or self._wants_http2 or services.schemes is not None:
            may_http2 = request.mode == FORWARD
            wants_http2 = self._wants_http2 and may_http2
            target = with_scheme(target, self._scheme, wants_http2, services.schemes, may_http2)
        if access is not None:
            access.check_target(target)
        self.is_routed = True
        self.target = target
        return target

    def _read_options(self, reserved: tuple[tuple[bytes, bytes], ...]) -> None:
        check_hops(reserved)
        options = RequestOptions(reserved)
        max_wait = self._services.timeouts.max_wait
        self._host_override = options.host
        self._scheme = options.scheme
        self._wants_http2 = options.wants_http2
        if options.wait is not None and max_wait:
            self.connect_retry = min(options.wait, max_wait)

    def _edits(self, target: Target) -> Edits:
        """Return the changes to the head besides the fields that are cut."""
        request = self.request
        rewriter = self._services.rewriter
        override = self._host_override
        if rewriter is None:
            edits = Edits(override)
        else:
            edits = rewriter.edits(
                request, target, override, self.client.address(), self.client.scheme()
            )
        if isinstance(target, HostTarget):
            edits.added += hop_line(request.reserved)
        return edits

    def pause_if_large(self) -> None:
        """Stop reading the client while much of the request waits for a connection."""
        if len(self.outgoing) > PIPELINE_LIMIT:
            self.client.reading.stop(UNSENT)

    def send(self, upstream: Stream) -> None:
        """Send the head and the first body bytes, in one write."""
        upstream.write(self.outgoing)
        if len(self.outgoing) > PIPELINE_LIMIT:
            self.client.reading.resume(UNSENT)
        if self.state != REQUEST_DONE:
            self.takes_body = True
            self.outgoing = b""

    def progress_seconds(self) -> float:
        """Return how long nothing may move once it is sent: of its body, or of the response.

        A body need not move in HTTP/2: gRPC has deadlines, and streams that are silent for long.
        """
        timeouts = self._services.timeouts
        is_limited = self.takes_body and not self.target.is_http2()
        return timeouts.body if is_limited else timeouts.response

    def may_be_sent_again(self, is_unprocessed: bool = False) -> bool:
        """Return whether it is still held as a whole, and may be sent twice.

        It may if it is idempotent (RFC 9110 section 9.2.2), or once if the upstream has said that
        it `is_unprocessed`.
        """
        if self.outgoing == b"":
            return False
        if not is_unprocessed:
            return self.request.method in _IDEMPOTENT
        is_first = not self.is_retried
        self.is_retried = True
        return is_first

    def release_copy(self) -> None:
        """Drop a large request that is held only to be sent again: others need the room."""
        if len(self.outgoing) > PIPELINE_LIMIT:
            self.outgoing = b""

    def feed(self, data: bytes, upstream: Stream) -> bool:
        """Forward body bytes; return whether the request is complete. Raises BadMessage."""
        request = self.request
        body = request.body
        if body is None:
            return False
        out = body.feed(data, 0)
        request.received += len(data)
        if out:
            upstream.write(out)
        if body.is_done:
            request.received -= len(body.trailing_data)
            self.state = REQUEST_DONE
            self.takes_body = False
            self.client.keep_pipelined(body.trailing_data)
            return True
        return False

    def start_transfer(self, upstream: Stream, count_moved: CountMoved, count: int) -> None:
        """Let the kernel move what follows of the body; see `splice.start_transfer`."""
        body = self.request.body
        if body is not None:
            body_transfer.start_transfer(
                self._services.splice_pipe,
                self.client.transport,
                upstream,
                body,
                count_moved,
                count,
            )
