"""How far the two sides of an exchange are, and all that they share.

Two small enums, as constants; written only by `request.py`, `response.py` and `exchange.py`, in
one method for each event.
"""

from typing import Final

from cmux_proxy.http1.body import Body
from cmux_proxy.http1.head import RequestHead, ResponseHead
from cmux_proxy.net.timers import NEVER
from cmux_proxy.observe.port_activity import PortActivity
from cmux_proxy.relay.downstream import ClientSide
from cmux_proxy.relay.failures import Failure
from cmux_proxy.relay.services import Context
from cmux_proxy.routing.target import Target
from cmux_proxy.upstream.connection import UpstreamConnection, UpstreamOwner
from cmux_proxy.upstream.waiters import Waiter

# RequestSide
REQUEST_HEAD: Final = 0  # not judged yet
REQUEST_BODY: Final = 1  # the body is under way
REQUEST_DONE: Final = 2  # its last byte was read

# ResponseSide
WAITING: Final = 0  # no final response head yet
RESPONSE_BODY: Final = 1  # the head has left
RESPONSE_DONE: Final = 2  # the last byte has left
OVER: Final = 3  # the exchange has ended; absorbs whatever comes late


class ExchangeState(UpstreamOwner):
    """The state of an exchange; `takes_body` says that the client's bytes are wanted now."""

    __slots__ = (
        "_awaiting_continue",
        "_client",
        "_context",
        "_dial_patience",
        "_ended",
        "_error",
        "_first_byte",
        "_held",
        "_host",
        "_how",
        "_is_reused",
        "_is_routed",
        "_outgoing",
        "_patience",
        "_port",
        "_received",
        "_request",
        "_request_body",
        "_request_side",
        "_response_body",
        "_response_side",
        "_searched",
        "_sent",
        "_status",
        "_target",
        "_unsent",
        "_upgrade",
        "_upstream",
        "_upstream_persists",
        "_waiter",
        "_wished_host",
        "started",
        "takes_body",
    )

    def __init__(self, context: Context, client: ClientSide, request: RequestHead) -> None:
        self._context = context
        self._client = client
        self._request = request
        self._request_side = REQUEST_HEAD
        self._request_body: Body | None = None
        self.takes_body = False
        self._upgrade = False
        # The client asks leave to send its body, and the upstream has not given it.
        self._awaiting_continue = False
        self._target: Target
        # The head and first body bytes, while they may have to be sent (again).
        self._outgoing = b""
        # While it waits for a connection.
        self._waiter: Waiter | None = None
        # For how many seconds a port that refuses is dialled again.
        self._dial_patience = 0.0
        # What the request asks to have for its Host.
        self._wished_host: bytes | None = None
        self._upstream: UpstreamConnection | None = None
        self._upstream_persists = True
        self._is_reused = False
        self._response_side = WAITING
        self._response_body: Body | None = None
        # An unfinished response head, and how much of it was searched for its end.
        self._held = b""
        self._searched = 0
        # How the response is delivered: the bits of `http1/response_coding.py`.
        self._how = 0
        # For how many seconds nothing may move, in the phase that the exchange is in.
        self._patience = NEVER
        # How much waited for a peer to read when it was looked at last.
        self._unsent = 0
        # What is told at the end: when it began, when the answer did, and when all ended if that is
        # known already, in seconds of the monotonic clock; the status, what went wrong, and how
        # many bytes came from either side.
        observer = context.observer
        self.started = 0.0 if observer is None else observer.clock()
        self._first_byte = 0.0
        self._ended = 0.0
        self._status = 0
        self._error = ""
        self._received = request.end
        self._sent = 0
        # The host that the request means, and whether it has a target.
        self._host: bytes | None = None
        self._is_routed = False
        # The port's, while the exchange counts as one that is under way there.
        self._port: PortActivity | None = None

    def _expect_progress(self) -> None:
        """Something has moved: wait anew."""
        now = self._context.ticker.now
        self._client.deadline = now + self._patience
        if self._port is not None:
            self._port.last_byte = now

    def _count_unsent(self) -> int:
        """Return how much waits for either peer to read."""
        upstream = self._upstream
        to_upstream = 0 if upstream is None else upstream.transport.get_write_buffer_size()
        return to_upstream + self._client.transport.get_write_buffer_size()

    def _response_done(self) -> None:
        """The last byte of the response has left."""
        raise NotImplementedError

    def _grant_switch(self, head: ResponseHead) -> None:
        """The upstream has answered 101."""
        raise NotImplementedError

    def _complete(self) -> None:
        """Both messages are whole."""
        raise NotImplementedError

    def _fail(self, failure: Failure) -> None:
        """The exchange cannot go on."""
        raise NotImplementedError
