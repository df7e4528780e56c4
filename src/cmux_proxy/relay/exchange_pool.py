"""Keeps ended exchanges for the next requests: to make one costs more than to begin it again.

Neighbour: `upstream/pool.py` keeps idle connections.
"""

from typing import Final

from cmux_proxy.relay.client_request import ClientRequest
from cmux_proxy.relay.downstream import Downstream
from cmux_proxy.relay.exchange import Exchange
from cmux_proxy.relay.services import Services

# How many are kept; each takes about 1 KB.
_MAX_SPARE: Final = 1024


class ExchangePool:
    """Hands out exchanges, the one that ended last first: the CPU still has it in its caches."""

    __slots__ = ("_count", "_first", "_services")

    def __init__(self, services: Services) -> None:
        self._services = services
        # A linked list: a Python list would be reallocated again and again as it shrinks and grows.
        self._first: Exchange | None = None
        self._count = 0

    def begin(self, client: Downstream, request: ClientRequest) -> Exchange:
        """Return an exchange for this request; the caller starts it."""
        exchange = self._first
        if exchange is None:
            exchange = Exchange(self._services)
        else:
            self._first = exchange.next_spare
            # Otherwise those in use would keep each other, and spare ones that are no longer kept.
            exchange.next_spare = None
            self._count -= 1
        exchange.begin(client, request)
        return exchange

    def take_back(self, exchange: Exchange) -> None:
        """Keep an exchange that is complete or has failed; nothing else may refer to it."""
        exchange.clear()
        if self._count < _MAX_SPARE:
            self._count += 1
            exchange.next_spare = self._first
            self._first = exchange
