"""Which clients may connect: their networks, and how many connections one address may have.

Checks each new connection, where either is configured. Does not know requests.
"""

from typing import Final

from cmux_proxy.config.proxy_config import Config
from cmux_proxy.config.values import UNIX_PEER, Peers
from cmux_proxy.net.peer import peer_of
from cmux_proxy.net.stream import Stream
from cmux_proxy.relay.downstream import AdmissionControl
from cmux_proxy.relay.failures import (
    CLIENT_NOT_ALLOWED,
    TOO_MANY_CLIENTS,
    TOO_MANY_REQUESTS,
    Failure,
)

# How many requests over HTTP/2 an address may have at a time, for each connection that it may have.
_STREAMS_PER_CLIENT: Final = 100
# How many refused connections get a reply at a time; further ones are closed without.
_MAX_REFUSED: Final = 64


class Admission(AdmissionControl):
    """Counts the connections of each address; each stream that entered has to leave."""

    def __init__(self, config: Config) -> None:
        self._allowed = Peers(config.access.allow_clients)
        self._allows_all = not config.access.allow_clients
        self._max_per_address = config.limits.clients_per_address
        # The address of each connection that is counted, and the connections of each address.
        self.addresses: dict[Stream, str] = {}
        self.counts: dict[str, int] = {}
        # The requests over HTTP/2 of each address.
        self.streams: dict[str, int] = {}
        self._refused: set[Stream] = set()

    @staticmethod
    def from_config(config: Config) -> "Admission | None":
        """Return the rules of a configuration, None where every client may connect."""
        if config.access.allow_clients or config.limits.clients_per_address is not None:
            return Admission(config)
        return None

    def enter(self, stream: Stream) -> Failure | None:
        """Admit a connection, or return the failure to reply with."""
        host = peer_of(stream)
        # A client that is gone already has no address, and no rule applies to it.
        if not (self._allows_all or self._allowed.include(host)):
            self._refused.add(stream)
            return CLIENT_NOT_ALLOWED
        if self._max_per_address is not None and host != UNIX_PEER:
            count = self.counts.get(host, 0)
            if count >= self._max_per_address:
                self._refused.add(stream)
                return TOO_MANY_CLIENTS
            self.counts[host] = count + 1
            self.addresses[stream] = host
        return None

    def enter_stream(self, address: str) -> Failure | None:
        """Admit a request on a stream, or return the failure to reply with."""
        if self._max_per_address is None or address == UNIX_PEER:
            return None
        count = self.streams.get(address, 0)
        if count >= self._max_per_address * _STREAMS_PER_CLIENT:
            return TOO_MANY_REQUESTS
        self.streams[address] = count + 1
        return None

    def leave_stream(self, address: str) -> None:
        """Forget a request that was admitted."""
        _decrease(self.streams, address)

    def is_crowded(self) -> bool:
        """Return whether too many refused connections are still open."""
        return len(self._refused) > _MAX_REFUSED

    def leave(self, stream: Stream) -> None:
        """Forget a connection that is gone; idempotent."""
        self._refused.discard(stream)
        host = self.addresses.pop(stream, None)
        if host is not None:
            _decrease(self.counts, host)


def _decrease(counts: dict[str, int], key: str) -> None:
    """Count one less, if any was counted."""
    count = counts.get(key, 0) - 1
    if count > 0:
        counts[key] = count
    else:
        counts.pop(key, None)
