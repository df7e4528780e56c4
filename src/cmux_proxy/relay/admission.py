"""Who may connect: networks of clients, and how many connections one address may have.

Asked once for each connection, where either is configured.
"""

import asyncio
from typing import Final

from cmux_proxy.config import Config
from cmux_proxy.entries import client_network, plain_address
from cmux_proxy.observe.outcome import Outcome
from cmux_proxy.relay.failures import RETRY_SOON, Failure

NOT_ALLOWED: Final = Failure(
    403,
    "clients of this address are not served here (--allow-client)",
    "http_request_denied",
    Outcome.REFUSED,
)
TOO_MANY: Final = Failure(
    503,
    "this address has too many connections (--max-clients-per-address)",
    "connection_limit_reached",
    Outcome.REFUSED,
    RETRY_SOON,
)

# So many who are turned away get an answer at a time; whoever comes on top is just closed.
_MOST_ANSWERED: Final = 64


class Admission:
    """Counts the connections of each address; every transport that entered has to leave."""

    def __init__(self, config: Config) -> None:
        self._networks = [client_network(text) for text in config.access.allow_clients]
        self._most = config.limits.clients_per_address
        self._addresses: dict[asyncio.BaseTransport, str] = {}
        self._counts: dict[str, int] = {}
        self._turned_away: set[asyncio.BaseTransport] = set()

    @staticmethod
    def of(config: Config) -> "Admission | None":
        """Return what the configuration asks for; None where everybody is welcome."""
        if config.access.allow_clients or config.limits.clients_per_address is not None:
            return Admission(config)
        return None

    def enter(self, transport: asyncio.BaseTransport) -> Failure | None:
        """Let a connection in, or return what to answer it with."""
        peer = transport.get_extra_info("peername")
        host = str(peer[0]) if peer else ""
        if not self._is_welcome(host):
            self._turned_away.add(transport)
            return NOT_ALLOWED
        if self._most is not None:
            count = self._counts.get(host, 0)
            if count >= self._most:
                self._turned_away.add(transport)
                return TOO_MANY
            self._counts[host] = count + 1
            self._addresses[transport] = host
        return None

    def is_crowded(self) -> bool:
        """Return whether too many who were turned away are still there to be answered."""
        return len(self._turned_away) > _MOST_ANSWERED

    def leave(self, transport: asyncio.BaseTransport) -> None:
        """A connection is gone; idempotent."""
        self._turned_away.discard(transport)
        host = self._addresses.pop(transport, None)
        if host is not None:
            count = self._counts[host] - 1
            if count:
                self._counts[host] = count
            else:
                del self._counts[host]

    def _is_welcome(self, host: str) -> bool:
        if not self._networks:
            return True
        if not host:
            # Already gone, or a peer that has no address.
            return False
        address = plain_address(host)
        return any(address in network for network in self._networks)
