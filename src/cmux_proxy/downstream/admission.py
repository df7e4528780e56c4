"""Who may connect: networks of clients, and how many connections one address may have.

Asked once for each connection, where either is configured.
"""

from typing import Final

from cmux_proxy.config.proxy_config import Config
from cmux_proxy.config.values import UNIX_PEER, Peers
from cmux_proxy.net.peer import peer_of
from cmux_proxy.net.stream import Stream
from cmux_proxy.relay.failures import CLIENT_NOT_ALLOWED, TOO_MANY_CLIENTS, Failure

# So many who are turned away get an answer at a time; whoever comes on top is just closed.
_MOST_ANSWERED: Final = 64


class Admission:
    """Counts the connections of each address; every transport that entered has to leave."""

    def __init__(self, config: Config) -> None:
        self._welcome = Peers(config.access.allow_clients)
        self._is_open = not config.access.allow_clients
        self._most = config.limits.clients_per_address
        self._addresses: dict[Stream, str] = {}
        self._counts: dict[str, int] = {}
        self._turned_away: set[Stream] = set()

    @staticmethod
    def of(config: Config) -> "Admission | None":
        """Return what the configuration asks for; None where everybody is welcome."""
        if config.access.allow_clients or config.limits.clients_per_address is not None:
            return Admission(config)
        return None

    def enter(self, transport: Stream) -> Failure | None:
        """Let a connection in, or return what to answer it with."""
        host = peer_of(transport)
        # Whoever is gone already has no address, and needs no place.
        if not (self._is_open or self._welcome.include(host)):
            self._turned_away.add(transport)
            return CLIENT_NOT_ALLOWED
        if self._most is not None and host != UNIX_PEER:
            count = self._counts.get(host, 0)
            if count >= self._most:
                self._turned_away.add(transport)
                return TOO_MANY_CLIENTS
            self._counts[host] = count + 1
            self._addresses[transport] = host
        return None

    def is_crowded(self) -> bool:
        """Return whether too many who were turned away are still there to be answered."""
        return len(self._turned_away) > _MOST_ANSWERED

    def leave(self, transport: Stream) -> None:
        """A connection is gone; idempotent."""
        self._turned_away.discard(transport)
        host = self._addresses.pop(transport, None)
        if host is not None:
            count = self._counts[host] - 1
            if count:
                self._counts[host] = count
            else:
                del self._counts[host]
