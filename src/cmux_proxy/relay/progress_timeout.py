"""The timeout of an exchange: for how long no byte may move, in the phase that it is in.

The bytes that the kernel moves are counted here, because nothing else of an exchange sees them.
Does not know what a passed timeout means: `exchange.py` does.
"""

from cmux_proxy.net.busy_poll import FROM_CLIENT, FROM_UPSTREAM
from cmux_proxy.net.timers import NEVER
from cmux_proxy.relay.accounting import ExchangeLog
from cmux_proxy.relay.request import RequestStream
from cmux_proxy.relay.response import ResponseStream
from cmux_proxy.relay.services import Services
from cmux_proxy.relay.upstream_lease import UpstreamLease


class ProgressTimeout:
    """Moves the client's deadline whenever bytes have moved; `seconds` is that of the phase."""

    __slots__ = (
        "_log", "_request_stream", "_response_stream", "_services", "_unsent", "_upstream",
        "seconds",
    )  # fmt: skip

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
        self.seconds = NEVER
        # How many bytes waited for a peer to read them when they were counted last.
        self._unsent = 0

    def begin(self) -> None:
        """Forget what waited in the exchange before."""
        self._unsent = 0

    def restart(self) -> None:
        """Bytes have moved: wait for the whole timeout again."""
        now = self._services.ticker.now
        self._request_stream.client.deadline = now + self.seconds
        if self._log is not None:
            self._log.progressed(now)

    def request_moved(self, count: int) -> None:
        """The kernel has moved so many bytes of the request's body (`net/splice.py`)."""
        self._request_stream.request.received += count
        self._note_arrival(FROM_CLIENT)

    def response_moved(self, count: int) -> None:
        """The kernel has moved so many bytes of the response's body."""
        self._response_stream.sent += count
        self._note_arrival(FROM_UPSTREAM)

    def _note_arrival(self, sender: int) -> None:
        if self._services.busy_poll is not None:
            self._services.busy_poll.note(sender)
        self.restart()

    def peer_paused(self) -> None:
        """A peer stops reading: count what waits for it."""
        self._unsent = self._count_unsent()

    def peer_resumed(self) -> None:
        """The peer reads again, and nothing waits for it."""
        self._unsent = 0

    def has_passed(self) -> bool:
        """Return whether really nothing moves; a peer that reads slowly does read."""
        unsent = self._count_unsent()
        if unsent >= self._unsent:
            return True
        self._unsent = unsent
        self.restart()
        return False

    def _count_unsent(self) -> int:
        """Return how many bytes wait for either peer to read."""
        client = self._request_stream.client.transport
        return self._upstream.unsent() + client.get_write_buffer_size()
