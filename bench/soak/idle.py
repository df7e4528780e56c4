"""The clients of the idle WebSockets: opens them, and sends a message over one at intervals.

python -m bench.soak.idle JOB

Every message is unique, and its echo has to arrive at the same WebSocket only.
"""

import asyncio
from random import Random
from typing import Final, cast

from bench.soak.jobs import (
    Counts,
    Job,
    Report,
    in_background,
    keep_reporting,
    print_report,
    run_job,
)
from bench.soak.websocket import END_OF_HEAD, frame, new_key, request, response, take_message

# The number of client addresses, because each address has a limited number of ports.
_ADDRESSES: Final = 8
_OPENED_AT_ONCE: Final = 100
_TIMEOUT: Final = 30.0
# The average time between two messages, in seconds.
_PAUSE: Final = 0.02


class Socket(asyncio.Protocol):
    """One WebSocket."""

    def __init__(self, number: int, counts: Counts) -> None:
        self.number = number
        self.is_open = False
        self._counts = counts
        self._buffer = bytearray()
        self._is_closing = False
        self._waiter: asyncio.Future[bytes] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport for writing."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Pass on expected bytes; other bytes are a problem."""
        self._buffer += data
        try:
            message = take_message(self._buffer) if self.is_open else self._take_head()
        except ValueError as error:
            self._problem(str(error))
            return
        if message is None:
            return
        waiter, self._waiter = self._waiter, None
        if waiter is None or waiter.done():
            self._problem(f"unexpected {message!r}")
        else:
            waiter.set_result(message)

    def _take_head(self) -> bytes | None:
        end = self._buffer.find(END_OF_HEAD) + len(END_OF_HEAD)
        if end < len(END_OF_HEAD):
            return None
        head = bytes(self._buffer[:end])
        del self._buffer[:end]
        return head

    def connection_lost(self, error: Exception | None) -> None:
        """Record the loss, which is a problem unless this side has closed."""
        self.is_open = False
        if not self._is_closing:
            self._problem(f"lost: {error!r}")
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(ConnectionResetError("lost"))

    async def open(self, port: int) -> None:
        """Request the upgrade, and check the response."""
        key = new_key(self.number)
        head = await self._exchange(request(port, key))
        if head != response(key):
            raise ValueError(f"the response is {head[:300]!r}")
        self.is_open = True

    async def echo(self, message: bytes, mask: bytes) -> None:
        """Send a message, and check its echo."""
        echo = await self._exchange(frame(message, mask))
        if echo != message:
            self._problem(f"the echo is {echo!r} instead of {message!r}")

    async def _exchange(self, data: bytes) -> bytes:
        self._waiter = asyncio.get_running_loop().create_future()
        self._transport.write(data)
        async with asyncio.timeout(_TIMEOUT):
            return await self._waiter

    @property
    def is_waiting(self) -> bool:
        """Whether an echo has not arrived yet."""
        return self._waiter is not None

    def close(self) -> None:
        """Close the connection."""
        self._is_closing = True
        self._transport.close()

    def _problem(self, text: str) -> None:
        self._counts.problem(f"WebSocket {self.number}: {text}")


class Sockets:
    """All WebSockets."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._random = Random(job.seed)
        self._counts = Counts()
        self._all: list[Socket] = []

    def report(self) -> Report:
        """Return the counts, and how many are open."""
        return self._counts.report() | {"open": sum(socket.is_open for socket in self._all)}

    async def open(self) -> None:
        """Open all, a limited number at a time."""
        gate = asyncio.Semaphore(_OPENED_AT_ONCE)
        await asyncio.gather(*(self._open(number, gate) for number in range(self._job.count)))

    async def _open(self, number: int, gate: asyncio.Semaphore) -> None:
        loop = asyncio.get_running_loop()
        ports = self._job.ports
        address = f"127.0.0.{2 + number % _ADDRESSES}"
        async with gate:
            try:
                _, socket = await loop.create_connection(
                    lambda: Socket(number, self._counts),
                    *("127.0.0.1", self._job.proxy),
                    local_addr=(address, 0),
                )
                self._all.append(socket)
                await socket.open(ports[number % len(ports)])
            except (OSError, ValueError) as error:
                self._counts.problem(f"WebSocket {number} does not open: {error!r}")

    async def keep_echoing(self) -> None:
        """Send messages over random WebSockets, until cancelled."""
        async with asyncio.TaskGroup() as group:
            while self._all:
                await asyncio.sleep(self._random.uniform(0, 2 * _PAUSE))
                socket = self._random.choice(self._all)
                if socket.is_open and not socket.is_waiting:
                    group.create_task(self._echo(socket))

    async def _echo(self, socket: Socket) -> None:
        count = self._counts.done["echoes"]
        message = b"%d %d " % (socket.number, count) + self._random.randbytes(32)
        try:
            await socket.echo(message, self._random.randbytes(4))
        except (OSError, TimeoutError) as error:
            self._counts.problem(f"WebSocket {socket.number}: no echo: {error!r}")
        self._counts.done["echoes"] += 1

    async def close(self) -> None:
        """Close all."""
        for socket in self._all:
            socket.close()
        # The transports close in the next turn of the loop.
        await asyncio.sleep(0.1)


async def work(job: Job) -> None:
    """Open all, report that, and keep them open until the parent stops it."""
    sockets = Sockets(job)
    await sockets.open()
    print_report(sockets.report() | {"opened": True})
    try:
        async with in_background(sockets.keep_echoing(), keep_reporting(sockets.report, job.every)):
            await asyncio.get_running_loop().create_future()
    finally:
        last = sockets.report()
        await sockets.close()
        print_report(last | {"over": True})


if __name__ == "__main__":
    run_job(work)
