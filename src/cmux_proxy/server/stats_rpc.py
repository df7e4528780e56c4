"""RPC between the admin process and the workers: WorkerStats on request, as JSON.

A request is a datagram on the worker's channel. It carries one end of a new socket pair, and the
response is what comes over that pair, up to its end. So a response that was cut off or is late
cannot be taken for that to another request. Does not know what WorkerStats mean.
"""

import asyncio
import contextlib
import json
import logging
import socket
from collections.abc import Callable, Sequence
from typing import Final

from cmux_proxy.observe.worker_stats import WorkerStats

# A worker that does not respond within this many seconds is left out.
TIMEOUT: Final = 2.0
_MAX_CONCURRENT: Final = 8
_MAX_REQUEST: Final = 32
_READ_SIZE: Final = 256 * 1024
_CLOSE_ON_EXEC: Final[int] = getattr(socket, "MSG_CMSG_CLOEXEC", 0)

_log = logging.getLogger("cmux_proxy")

# Takes the maximum number of connections to list; returns the worker's present values.
TakeSnapshot = Callable[[int], WorkerStats]


class StatsChannels:
    """A pair of connected sockets for each of `count` workers, whose numbers begin with 1.

    The processes inherit both ends, so that no socket has a path in a file system. The supervisor
    keeps them open, as it does the listening sockets: the process that replaces a dead one uses the
    same ends and finds what was sent meanwhile. Needs no event loop, because the supervisor has
    none.
    """

    def __init__(self, count: int) -> None:
        # Datagrams: a process that ends while it reads or writes leaves no half of a message.
        self._pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(count)]
        for pair in self._pairs:
            for sock in pair:
                # A full queue is an error for the sender, which must not wait for a busy worker.
                sock.setblocking(False)

    def take_worker(self, number: int) -> socket.socket:
        """Return a worker's end and close all others; for the worker's process."""
        own = self._pairs[number - 1][1]
        self._close_all_but([own])
        return own

    def take_admin(self) -> list[socket.socket]:
        """Return the admin process's ends and close the workers'; for the admin process."""
        own = [admin for admin, _ in self._pairs]
        self._close_all_but(own)
        return own

    def close(self) -> None:
        """Close all ends: a request to a worker that has ended fails at once from then on."""
        self._close_all_but([])

    def _close_all_but(self, kept: list[socket.socket]) -> None:
        for pair in self._pairs:
            for sock in pair:
                if sock not in kept:
                    sock.close()
        self._pairs.clear()


class LocalStats:
    """The values of the only worker, which runs in this process."""

    def __init__(self, take_snapshot: TakeSnapshot) -> None:
        self._take_snapshot = take_snapshot

    async def workers(self, max_connections: int) -> list[WorkerStats]:
        """Return the worker's values."""
        return [self._take_snapshot(max_connections)]


class StatsClient:
    """Requests the values of the workers at the other ends of `channels`, which it owns."""

    def __init__(self, channels: Sequence[socket.socket], timeout: float = TIMEOUT) -> None:
        self._channels = channels
        self._timeout = timeout
        # Each request takes a file descriptor for each worker.
        self._turns = asyncio.Semaphore(_MAX_CONCURRENT)

    async def workers(self, max_connections: int) -> list[WorkerStats]:
        """Return the values of the workers that respond in time."""
        async with self._turns:
            responses = await asyncio.gather(
                *(self._request(channel, max_connections) for channel in self._channels)
            )
        return [stats for stats in responses if stats is not None]

    async def _request(self, channel: socket.socket, max_connections: int) -> WorkerStats | None:
        try:
            with send_request(channel, max_connections) as sock:
                async with asyncio.timeout(self._timeout):
                    return WorkerStats.from_json(json.loads(await _read_all(sock)))
        except (OSError, ValueError) as error:
            # TimeoutError is an OSError: the worker is busy, or its successor is about to start.
            _log.debug("a worker does not report its statistics: %r", error)
            return None


def send_request(channel: socket.socket, max_connections: int) -> socket.socket:
    """Request a worker's values; return the socket on which they come, up to its end."""
    mine, workers = socket.socketpair()
    mine.setblocking(False)
    with workers:
        try:
            socket.send_fds(channel, [b"%d" % max_connections], [workers.fileno()])
        except OSError:
            mine.close()
            raise
    return mine


async def _read_all(sock: socket.socket) -> bytes:
    loop = asyncio.get_running_loop()
    chunks: list[bytes] = []
    while chunk := await loop.sock_recv(sock, _READ_SIZE):
        chunks.append(chunk)
    return b"".join(chunks)


class StatsResponder:
    """Responds to requests on a worker's end of its channel, which it owns."""

    def __init__(
        self, channel: socket.socket, take_snapshot: TakeSnapshot, timeout: float = TIMEOUT
    ) -> None:
        self._channel = channel
        self._take_snapshot = take_snapshot
        self._timeout = timeout
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(channel, self._receive)

    def close(self) -> None:
        """Stop responding."""
        self._loop.remove_reader(self._channel)
        self._channel.close()

    def _receive(self) -> None:
        try:
            request, descriptors, _, _ = socket.recv_fds(
                self._channel, _MAX_REQUEST, 1, _CLOSE_ON_EXEC
            )
        except BlockingIOError:
            return
        # Without a free descriptor in this process there is none, and the client reads the end.
        for descriptor in descriptors:
            sock = socket.socket(fileno=descriptor)
            sock.setblocking(False)
            task = self._loop.create_task(self._respond(sock, int(request)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _respond(self, sock: socket.socket, max_connections: int) -> None:
        with sock, contextlib.suppress(OSError):
            data = json.dumps(self._take_snapshot(max_connections).to_json()).encode()
            # The client may have gone, and it waits no longer than this.
            async with asyncio.timeout(self._timeout):
                await self._loop.sock_sendall(sock, data)
