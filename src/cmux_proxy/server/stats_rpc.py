"""Snapshots from this process and from others.

A question is a datagram with a socket of its own in it: what comes over that socket, up to its end,
is the answer. So one that was cut off, or that comes too late, is not taken for the next one.
"""

import asyncio
import contextlib
import json
import logging
import socket
from collections.abc import Callable, Sequence
from typing import Final

from cmux_proxy.server.snapshot import Snapshot

# A worker that does not answer within so many seconds is left out.
_PATIENCE: Final = 2.0
_AT_ONCE: Final = 8
_LONGEST: Final = 32
_PIECE: Final = 256 * 1024
_CLOSE_ON_EXEC: Final[int] = getattr(socket, "MSG_CMSG_CLOEXEC", 0)

_log = logging.getLogger("cmux_proxy")

# Returns a snapshot, with a list of at most so many connections.
Tell = Callable[[int], Snapshot]


class OneWorker:
    """The worker of this very process."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell

    async def snapshots(self, most: int) -> list[Snapshot]:
        """Return its snapshot."""
        return [self._tell(most)]


class SeveralWorkers:
    """Workers at the other ends of `channels`, which are its own from now on."""

    def __init__(self, channels: Sequence[socket.socket]) -> None:
        self._channels = channels
        # Each question takes a descriptor for each worker.
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def snapshots(self, most: int) -> list[Snapshot]:
        """Return the snapshots of those that answer in time."""
        async with self._turns:
            asked = await asyncio.gather(*(_ask(channel, most) for channel in self._channels))
        return [told for told in asked if told is not None]


async def _ask(channel: socket.socket, most: int) -> Snapshot | None:
    try:
        with _send_question(channel, most) as sock:
            async with asyncio.timeout(_PATIENCE):
                told: Snapshot = json.loads(await _read_all(sock))
                return told
    except (OSError, ValueError) as error:
        # TimeoutError is an OSError: the worker is busy, or a new one is about to start.
        _log.debug("a worker does not tell what it does: %r", error)
        return None


def _send_question(channel: socket.socket, most: int) -> socket.socket:
    """Ask for a snapshot; return the socket on which it comes, up to its end."""
    mine, its = socket.socketpair()
    mine.setblocking(False)
    with its:
        try:
            socket.send_fds(channel, [b"%d" % most], [its.fileno()])
        except OSError:
            mine.close()
            raise
    return mine


async def _read_all(sock: socket.socket) -> bytes:
    loop = asyncio.get_running_loop()
    pieces: list[bytes] = []
    while piece := await loop.sock_recv(sock, _PIECE):
        pieces.append(piece)
    return b"".join(pieces)


class StatsResponder:
    """Answers what comes over a worker's end of its channel, which is its own from now on."""

    def __init__(self, channel: socket.socket, tell: Tell) -> None:
        self._channel = channel
        self._tell = tell
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(channel, self._receive)

    def close(self) -> None:
        """Answer no more."""
        self._loop.remove_reader(self._channel)
        self._channel.close()

    def _receive(self) -> None:
        try:
            asked, descriptors, _, _ = socket.recv_fds(self._channel, _LONGEST, 1, _CLOSE_ON_EXEC)
        except BlockingIOError:
            return
        # There is none where this process had no room for it: whoever asked reads the end.
        for descriptor in descriptors:
            sock = socket.socket(fileno=descriptor)
            sock.setblocking(False)
            task = self._loop.create_task(self._answer(sock, int(asked)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _answer(self, sock: socket.socket, most: int) -> None:
        with sock, contextlib.suppress(OSError):
            told = json.dumps(self._tell(most)).encode()
            # Whoever asked may have gone, and waits no longer than this.
            async with asyncio.timeout(_PATIENCE):
                await self._loop.sock_sendall(sock, told)
