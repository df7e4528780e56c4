"""Drain: what happens between the first signal and the last connection of one proxy.

Knows when idle connections close and from when on requests are refused. `proxy` stops accepting
before, and waits until all connections have ended.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Final

from cmux_proxy.relay.services import Context

# What a client sends before it can know of the drain arrives within so many seconds. Then it takes
# some turns of the event loop to be read, more for a new connection; a loop that had no time for
# them is late with both.
ON_ITS_WAY: Final = 0.05
_TURNS: Final = 10
# A client that has just connected, or got an answer, sends its next request within so many seconds,
# also where the machine is busy. It cannot know of the drain, and not every client tries again.
NEXT_REQUEST: Final = 1.0

_log = logging.getLogger("cmux_proxy")


class Drain:
    """Ends a proxy's connections as they become idle, for at most `wait` seconds."""

    def __init__(self, context: Context, wait: float) -> None:
        self._context = context
        self._wait = wait
        self._loop = asyncio.get_running_loop()
        self._begun = self._loop.create_future()
        context.is_draining = True
        # Callbacks, since a coroutine would go on before what has just arrived is read.
        self._loop.call_later(min(wait, ON_ITS_WAY), self._in_turns, _TURNS, self._begin)
        refuse = partial(self._in_turns, _TURNS, self._refuse)
        self._refusal = self._loop.call_later(min(wait, NEXT_REQUEST), refuse)

    async def begun(self) -> None:
        """Wait until the idle connections are closed."""
        await asyncio.shield(self._begun)

    def end(self) -> None:
        """Forget what is still to be done; all connections have ended."""
        self._refusal.cancel()

    def _in_turns(self, turns: int, action: Callable[[], None]) -> None:
        """Do something when the loop has turned so many times."""
        if turns:
            self._loop.call_soon(self._in_turns, turns - 1, action)
        else:
            action()

    def _begin(self) -> None:
        """Close connections that have been idle for some time."""
        self._close_idle()
        self._begun.set_result(None)
        # What was closed is gone by then.
        self._in_turns(_TURNS, self._report)

    def _refuse(self) -> None:
        """Begin no further request, and close all connections that carry none."""
        self._context.is_refusing = True
        self._close_idle()

    def _close_idle(self) -> None:
        for connection in list(self._context.clients):
            connection.drain()
        for upstream in self._context.pool.drain():
            upstream.close()

    def _report(self) -> None:
        """Log what the drain waits for, if it waits."""
        clients, tunnels = len(self._context.clients), len(self._context.tunnels)
        if clients or tunnels:
            line = "draining: waits up to %g s; clients: %d, tunnels: %d"
            _log.info(line, self._wait, clients, tunnels)
