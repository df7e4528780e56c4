"""The drain of one proxy: from the first stop signal until its last connection has ended.

Knows when idle connections are closed and from when requests are refused. Does not accept or stop
accepting: `proxy` stops accepting before, and waits until all connections have ended.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Final

from cmux_proxy.relay.connection_registry import ConnectionRegistry
from cmux_proxy.relay.services import Services

# Seconds in which a request arrives that a client has sent before it could notice the drain. The
# event loop then needs some iterations to read it, more for a new connection; a busy loop runs both
# the timer and these iterations late.
IN_FLIGHT_TIME: Final = 0.05
_LOOP_ITERATIONS: Final = 10
# Seconds in which a client that has just connected, or received a response, sends its next request,
# also on a busy machine. It cannot notice the drain, and not every client retries.
NEXT_REQUEST_TIME: Final = 1.0

_log = logging.getLogger("cmux_proxy")


class Drain:
    """Closes a proxy's connections when they are idle, for at most `timeout` seconds."""

    def __init__(self, services: Services, timeout: float) -> None:
        self._services = services
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._idle_closed = self._loop.create_future()
        services.registry.is_draining = True
        # Callbacks, because a coroutine would continue before data that has just arrived is read.
        close_idle = partial(self._call_after_iterations, _LOOP_ITERATIONS, self._close_idle_first)
        self._loop.call_later(min(timeout, IN_FLIGHT_TIME), close_idle)
        refuse = partial(self._call_after_iterations, _LOOP_ITERATIONS, self._refuse)
        self._refusal = self._loop.call_later(min(timeout, NEXT_REQUEST_TIME), refuse)

    async def wait_until_idle_closed(self) -> None:
        """Wait until the connections that were idle at the start are closed."""
        await asyncio.shield(self._idle_closed)

    def end(self) -> None:
        """Cancel what is scheduled; all connections have ended."""
        self._refusal.cancel()

    def _call_after_iterations(self, iterations: int, action: Callable[[], None]) -> None:
        """Call `action` after this number of iterations of the loop."""
        if iterations:
            self._loop.call_soon(self._call_after_iterations, iterations - 1, action)
        else:
            action()

    def _close_idle_first(self) -> None:
        """Close the connections that have been idle since before the drain."""
        self._close_idle()
        self._idle_closed.set_result(None)
        # The closed connections are no longer counted by then.
        self._call_after_iterations(_LOOP_ITERATIONS, self._log_connections)

    def _refuse(self) -> None:
        """Refuse further requests, and close all connections without a request."""
        self._services.registry.is_refusing = True
        self._close_idle()

    def _close_idle(self) -> None:
        for connection in list(self._services.registry.clients):
            connection.drain()
        for upstream in self._services.pool.drain():
            upstream.close()

    def _log_connections(self) -> None:
        """Log the connections that the drain waits for, if there are any."""
        registry = self._services.registry
        tunnels = len(registry.tunnels)
        clients = _count_clients(registry)
        if clients or tunnels:
            line = "draining: waits up to %g s; clients: %d, tunnels: %d"
            _log.info(line, self._timeout, clients, tunnels)


async def announce_drain(registry: ConnectionRegistry, delay: float) -> None:
    """Let load balancers see, for `delay` seconds, that the proxy is about to stop accepting."""
    if delay and not registry.is_leaving:
        registry.is_leaving = True
        _log.info("stopping: accepts for %g s more, and health is 503", delay)
        await asyncio.sleep(delay)


def log_closed(registry: ConnectionRegistry, timeout: float) -> None:
    """Log the connections that have not ended within the drain timeout."""
    if len(registry):
        _log.info(
            "%d clients and %d tunnels were still open after %g s of draining, and are closed",
            _count_clients(registry),
            len(registry.tunnels),
            timeout,
        )


def _count_clients(registry: ConnectionRegistry) -> int:
    """Return how many connections are no tunnels; those of HTTP/2 may carry some."""
    return len(registry.clients) + len(registry.lingering)
