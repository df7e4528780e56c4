"""Accepts connections on all listening sockets of one proxy. Does not know the protocol on them.

Accepting can pause; new connections then wait in the kernel's backlog.
"""

import asyncio
import socket
from collections.abc import Sequence
from typing import Final

from cmux_proxy.net.acceptor import Acceptor
from cmux_proxy.server.unix_socket import UnixSocket

# Seconds until accepting is tried again after no descriptor was left.
_RETRY_DELAY: Final = 1.0


class Listener:
    """Accepts connections on bound sockets, each with its acceptor; owns the sockets."""

    def __init__(
        self,
        acceptors: Sequence[Acceptor],
        sockets: Sequence[socket.socket],
        retry_delay: float = _RETRY_DELAY,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._sockets = list(sockets)
        self._acceptors = list(acceptors)
        self._retry_delay = retry_delay
        self._is_accepting = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._retry: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Start to accept; raise OSError where the system does not allow it."""
        self._is_accepting = True
        for socket_acceptor in self._acceptors:
            await socket_acceptor.start()

    def pause(self) -> None:
        """Leave new connections in the kernel's backlog; idempotent."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self._is_accepting:
            self._is_accepting = False
            for socket_acceptor in self._acceptors:
                socket_acceptor.stop()

    def resume(self) -> None:
        """Accept again; idempotent."""
        if not self._is_accepting and self._sockets:
            self._is_accepting = True
            task = self._loop.create_task(self._resume())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _resume(self) -> None:
        try:
            for socket_acceptor in self._acceptors:
                if self._is_accepting:
                    await socket_acceptor.start()
        except OSError:
            # No descriptor is left for accepting; some may be free later.
            self.pause()
            self._retry = self._loop.call_later(self._retry_delay, self.resume)

    def finish(self) -> None:
        """Accept the connections in the backlog, then stop and free the addresses."""
        for sock in self._sockets:
            if isinstance(sock, UnixSocket):
                sock.unlink()
        if self._is_accepting:
            for socket_acceptor in self._acceptors:
                socket_acceptor.finish()
        self.close()

    def close(self) -> None:
        """Stop accepting for good and free the addresses."""
        self.pause()
        for sock in self._sockets:
            sock.close()
        self._sockets.clear()
