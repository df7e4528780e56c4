"""The connections of one worker: clients, lingering closes and tunnels, and how many may come.

The server reads it to pace accepting and to drain. Does not know what any connection carries.
Neighbour: `stream_budget.py` counts the streams of HTTP/2 clients.
"""

from collections.abc import Callable

from cmux_proxy.net.timers import Ticker, Timed
from cmux_proxy.relay.stream_budget import UNLIMITED, StreamBudget


class ConnectionRegistry:
    """Who is connected, whether the worker drains, and whether it has room for more clients."""

    __slots__ = (
        "_count",
        "budget",
        "clients",
        "is_draining",
        "is_full",
        "is_leaving",
        "is_refusing",
        "lingering",
        "max_clients",
        "on_change",
        "streams",
        "ticker",
        "tunnels",
        "websockets",
    )

    def __init__(self) -> None:
        # Clients whose next request is served, or whose request is in progress, as keys: a set of
        # them takes up to three times the memory, because it grows fourfold.
        self.clients: dict[Timed, None] = {}
        # Clients that have had their last response and may still be sending.
        self.lingering: set[Timed] = set()
        self.tunnels: set[Timed] = set()
        # The clients of those tunnels that are inside WebSockets.
        self.websockets: set[Timed] = set()
        # Requests of HTTP/2 clients, whose connections are among the clients.
        self.streams: set[Timed] = set()
        self.budget = StreamBudget()
        # The proxy accepts, but its health is 503 already: it drains soon.
        self.is_leaving = False
        # The next response on each connection is its last; a little later, requests get a 503.
        self.is_draining = False
        self.is_refusing = False
        self.max_clients = UNLIMITED
        # How many there were when `changed` was called last.
        self._count = 0
        self.is_full = False
        # The server sets it to pace accepting.
        self.on_change: Callable[[], None] | None = None
        # Set once the ticker exists, which walks the sets above.
        self.ticker: Ticker | None = None

    def is_stopping(self) -> bool:
        """Return whether it drains, or is about to."""
        return self.is_leaving or self.is_draining

    def __len__(self) -> int:
        """Return how many connections of clients are open, lingering ones and tunnels included.

        Tunnels on streams have the connection of their client, which is counted once.
        """
        return self.count()

    def count(self) -> int:
        """Return the same."""
        tunnels = len(self.tunnels) - self.budget.tunnels
        return len(self.clients) + len(self.lingering) + tunnels

    def add_client(self, client: Timed) -> None:
        """Add a client."""
        self.clients[client] = None

    def remove_client(self, client: Timed) -> None:
        """Remove a client; idempotent."""
        if client in self.clients:
            del self.clients[client]

    def everyone(self) -> list[Timed]:
        """Return all of them."""
        return [*self.clients, *self.lingering, *self.tunnels]

    def has_room(self, pending: int) -> bool:
        """Return whether one more client may be accepted besides `pending` ones."""
        count = self._count + pending
        return count < self.max_clients and self.budget.room(count) > 0

    def changed(self) -> None:
        """Count the connections; call `on_change` when room ends or begins, or none is left."""
        budget = self.budget
        tunnels = len(self.tunnels) - budget.tunnels
        count = self._count = len(self.clients) + len(self.lingering) + tunnels
        is_full = count >= self.max_clients or budget.room(count) <= 0
        if self.on_change is not None and (is_full != self.is_full or not count):
            self.is_full = is_full
            if self.ticker is not None:
                # While clients wait to be accepted, connections whose peer has left make room.
                self.ticker.is_urgent = is_full
            self.on_change()
        if budget.is_waiting():
            budget.fill(self.count)

    def enter_stream(self) -> bool:
        """Count a stream of an HTTP/2 client; return False if it has to wait."""
        budget = self.budget
        room = budget.room(self._count)
        if room <= 0 or budget.is_waiting():
            return False
        budget.count += 1
        if room == 1:
            self.changed()
        return True

    def leave_stream(self, was_tunnel: bool) -> None:
        """A stream that was counted is gone."""
        budget = self.budget
        budget.count -= 1
        if was_tunnel:
            budget.tunnels -= 1
        if was_tunnel or self.is_full or budget.is_waiting():
            self.changed()
