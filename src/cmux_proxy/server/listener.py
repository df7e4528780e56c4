"""Accepts connections on sockets that listen. Knows nothing of what is spoken on them.

Accepting can pause, so that connections wait in the kernel's queue while this process has no room
for them.
"""

import asyncio
import socket
from collections.abc import Sequence
from typing import Final

from cmux_proxy.net.acceptor import AcceptedConnections, acceptor
from cmux_proxy.server.unix_socket import PathSocket

_RETRY_AFTER: Final = 1.0


class Listener:
    """Accepts connections on bound sockets; owns them."""

    def __init__(
        self,
        arrivals: AcceptedConnections,
        sockets: Sequence[socket.socket],
        bursts: bool,
    ) -> None:
        self._loop = arrivals.loop
        self._sockets = list(sockets)
        self._acceptors = [acceptor(arrivals, sock, bursts) for sock in sockets]
        self._is_accepting = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._retry: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Accept from now on."""
        self._is_accepting = True
        for each in self._acceptors:
            await each.start()

    def pause(self) -> None:
        """Leave new connections in the kernel's queue; idempotent."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self._is_accepting:
            self._is_accepting = False
            for each in self._acceptors:
                each.stop()

    def resume(self) -> None:
        """Accept again; idempotent."""
        if not self._is_accepting and self._sockets:
            self._is_accepting = True
            task = self._loop.create_task(self._resume())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _resume(self) -> None:
        try:
            for each in self._acceptors:
                if self._is_accepting:
                    await each.start()
        except OSError:
            # There is no descriptor left to accept with: try again when some may be free.
            self.pause()
            self._retry = self._loop.call_later(_RETRY_AFTER, self.resume)

    def finish(self) -> None:
        """Stop for good and free the addresses; who has connected by now is accepted still."""
        for sock in self._sockets:
            if isinstance(sock, PathSocket):
                sock.remove()
        if self._is_accepting:
            for each in self._acceptors:
                each.finish()
        self.close()

    def close(self) -> None:
        """Stop for good and free the addresses."""
        self.pause()
        for sock in self._sockets:
            sock.close()
        self._sockets.clear()
