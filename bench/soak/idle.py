"""The clients of the idle WebSockets: opens them, and has some say something now and then.

python -m bench.soak.idle JOB

Every message belongs to one WebSocket and one moment, and has to come back to it and to no other.
"""

import asyncio
from random import Random
from typing import Final, cast

from bench.soak.jobs import Account, Job, Told, in_background, keep_telling, run_job, say
from bench.soak.websocket import END_OF_HEAD, frame, new_key, request, response, take_message

# From so many addresses, since each has only so many ports.
_ADDRESSES: Final = 8
_OPENED_AT_ONCE: Final = 100
_TIMEOUT: Final = 30.0
# So long on average from one message to the next.
_PAUSE: Final = 0.02


class Socket(asyncio.Protocol):
    """One WebSocket."""

    def __init__(self, number: int, account: Account) -> None:
        self.number = number
        self.is_open = False
        self._account = account
        self._buffer = bytearray()
        self._is_closing = False
        self._waiter: asyncio.Future[bytes] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to write."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Hand over what was waited for; nothing else may come."""
        self._buffer += data
        try:
            came = take_message(self._buffer) if self.is_open else self._take_head()
        except ValueError as error:
            self._problem(str(error))
            return
        if came is None:
            return
        waiter, self._waiter = self._waiter, None
        if waiter is None or waiter.done():
            self._problem(f"nobody asked for {came!r}")
        else:
            waiter.set_result(came)

    def _take_head(self) -> bytes | None:
        end = self._buffer.find(END_OF_HEAD) + len(END_OF_HEAD)
        if end < len(END_OF_HEAD):
            return None
        head = bytes(self._buffer[:end])
        del self._buffer[:end]
        return head

    def connection_lost(self, error: Exception | None) -> None:
        """Note that it is gone, which it may be only once we close it."""
        self.is_open = False
        if not self._is_closing:
            self._problem(f"lost: {error!r}")
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(ConnectionResetError("lost"))

    async def open(self, port: int) -> None:
        """Shake hands."""
        key = new_key(self.number)
        came = await self._ask(request(port, key))
        if came != response(key):
            raise ValueError(f"answered with {came[:300]!r}")
        self.is_open = True

    async def echo(self, message: bytes, mask: bytes) -> None:
        """Send a message and have it come back."""
        came = await self._ask(frame(message, mask))
        if came != message:
            self._problem(f"{came!r} came back instead of {message!r}")

    async def _ask(self, data: bytes) -> bytes:
        self._waiter = asyncio.get_running_loop().create_future()
        self._transport.write(data)
        async with asyncio.timeout(_TIMEOUT):
            return await self._waiter

    @property
    def waits(self) -> bool:
        """Whether an echo is under way."""
        return self._waiter is not None

    def close(self) -> None:
        """Close it."""
        self._is_closing = True
        self._transport.close()

    def _problem(self, text: str) -> None:
        self._account.problem(f"WebSocket {self.number}: {text}")


class Sockets:
    """All of them."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._random = Random(job.seed)
        self._account = Account()
        self._all: list[Socket] = []

    def told(self) -> Told:
        """Return what there is to tell."""
        return self._account.told() | {"open": sum(each.is_open for each in self._all)}

    async def open(self) -> None:
        """Open all, some at a time."""
        gate = asyncio.Semaphore(_OPENED_AT_ONCE)
        await asyncio.gather(*(self._open(number, gate) for number in range(self._job.count)))

    async def _open(self, number: int, gate: asyncio.Semaphore) -> None:
        loop = asyncio.get_running_loop()
        ports = self._job.ports
        address = f"127.0.0.{2 + number % _ADDRESSES}"
        async with gate:
            try:
                _, socket = await loop.create_connection(
                    lambda: Socket(number, self._account),
                    *("127.0.0.1", self._job.proxy),
                    local_addr=(address, 0),
                )
                self._all.append(socket)
                await socket.open(ports[number % len(ports)])
            except (OSError, ValueError) as error:
                self._account.problem(f"WebSocket {number} does not open: {error!r}")

    async def keep_echoing(self) -> None:
        """Have one after the other say something, until cancelled."""
        async with asyncio.TaskGroup() as group:
            while self._all:
                await asyncio.sleep(self._random.uniform(0, 2 * _PAUSE))
                socket = self._random.choice(self._all)
                if socket.is_open and not socket.waits:
                    group.create_task(self._echo(socket))

    async def _echo(self, socket: Socket) -> None:
        count = self._account.done["echoes"]
        message = b"%d %d " % (socket.number, count) + self._random.randbytes(32)
        try:
            await socket.echo(message, self._random.randbytes(4))
        except (OSError, TimeoutError) as error:
            self._account.problem(f"WebSocket {socket.number}: no echo: {error!r}")
        self._account.done["echoes"] += 1

    async def close(self) -> None:
        """Close all."""
        for socket in self._all:
            socket.close()
        # The transports close in the next turn of the loop.
        await asyncio.sleep(0.1)


async def work(job: Job) -> None:
    """Open all, tell so, and keep them until ended."""
    sockets = Sockets(job)
    await sockets.open()
    say(sockets.told() | {"opened": True})
    try:
        async with in_background(sockets.keep_echoing(), keep_telling(sockets.told, job.every)):
            await asyncio.get_running_loop().create_future()
    finally:
        last = sockets.told()
        await sockets.close()
        say(last | {"over": True})


if __name__ == "__main__":
    run_job(work)
