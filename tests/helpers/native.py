"""Native streams whose peers are plain sockets, and owners that record what they are called with.

For builds with native streams only: a test module skips itself elsewhere, and says with HOSTINGS
that its tests run wherever a reactor can be hosted.
"""

import asyncio
import contextlib
import fcntl
import os
import select
import socket
import struct
import termios
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, Self

from cmux_proxy.net._reactor import Reactor
from cmux_proxy.net._stream_factory import adopt
from cmux_proxy.net.backends import Backend, make_backend
from cmux_proxy.net.native_backend import NativeBackend
from tests.helpers.sockets import pair
from tests.helpers.timing import SOON, soon
from tests.helpers.wire import Wire

# The reactor leads, or is nested in a loop of somebody else.
HOSTINGS: Final = ("native", "nested-asyncio", "nested-uvloop")


class Recorder:
    """An owner; `calls` are the names of its callbacks in order, `on` what each of them does."""

    stream: Any
    fd: int
    wire: Wire

    def __init__(self, stays_open: bool = False) -> None:
        self.calls: list[str] = []
        self.on: dict[str, Callable[[], object]] = {}
        self.received = bytearray()
        self.error: Exception | None = None
        self._stays_open = stays_open
        self._changed = asyncio.Event()

    def connection_made(self, stream: Any, /) -> None:
        self.stream = stream
        self.note("connection_made")

    def data_received(self, data: bytes, /) -> None:
        self.received += data
        self.note("data_received")

    def eof_received(self) -> bool:
        self.note("eof_received")
        return self._stays_open

    def connection_lost(self, error: Exception | None, /) -> None:
        self.error = error
        self.note("connection_lost")

    def pause_writing(self) -> None:
        self.note("pause_writing")

    def resume_writing(self) -> None:
        self.note("resume_writing")

    def note(self, name: str) -> None:
        """Record a callback, and do what the test wants in it."""
        self.calls.append(name)
        self._changed.set()
        if name in self.on:
            self.on[name]()

    @property
    def is_lost(self) -> bool:
        """Whether the loss was reported."""
        return "connection_lost" in self.calls

    async def until(self, is_reached: Callable[[], bool]) -> None:
        """Wait until something is true, which can become so in a callback only."""
        while not is_reached():
            self._changed.clear()
            await soon(self._changed.wait())

    async def lost(self) -> None:
        """Wait until the loss is reported."""
        await self.until(lambda: self.is_lost)

    async def receives(self, data: bytes) -> None:
        """Wait for so many bytes, and require them to be these, from the first one on."""
        await self.until(lambda: len(self.received) >= len(data) or self.is_lost)
        assert self.received == data


class BufferedRecorder(Recorder, asyncio.BufferedProtocol):
    """The same with a buffer for reads; each time it is asked for it is a call too."""

    def __init__(self, size: int, stays_open: bool = False) -> None:
        super().__init__(stays_open)
        self.buffer = bytearray(size)

    def get_buffer(self, _size: int) -> Any:
        self.note("get_buffer")
        return self.buffer

    def buffer_updated(self, count: int) -> None:
        self.received += self.buffer[:count]
        self.note("buffer_updated")


class Streams:
    """Opens native streams in the running loop, and closes them at the end of a block."""

    backend: Backend

    async def __aenter__(self) -> Self:
        self.backend = make_backend(asyncio.get_running_loop(), True)
        assert self.backend.is_native
        self._stack = contextlib.ExitStack()
        self._owners: list[Recorder] = []
        return self

    async def __aexit__(self, *_: object) -> None:
        for owner in self._owners:
            owner.stream.abort()
            await owner.lost()
        self._stack.close()
        self.backend.close()

    async def open(
        self, owner: Recorder | None = None, family: int = socket.AF_INET, buffer: int | None = None
    ) -> Recorder:
        """Return the owner of a new stream; its `wire` is the peer, its `fd` the stream's.

        With `buffer`, the kernel keeps about that many bytes before it sends them.
        """
        peer, ours = self._stack.enter_context(pair(family))
        if buffer is not None:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
        owner = Recorder() if owner is None else owner
        owner.wire, owner.fd = Wire(peer), ours.fileno()
        await self.backend.open_stream(ours, owner)
        self._owners.append(owner)
        return owner

    def adopt(
        self, ours: socket.socket, peer: socket.socket, owner: Recorder | None = None
    ) -> Recorder:
        """Open a stream on a connected socket, without a turn of the loop."""
        owner = Recorder() if owner is None else owner
        owner.wire, owner.fd = Wire(self._stack.enter_context(peer)), ours.fileno()
        adopt(self.reactor, ours, owner)
        self._owners.append(owner)
        return owner

    @property
    def reactor(self) -> Reactor:
        """The reactor of the running loop."""
        assert isinstance(self.backend, NativeBackend)
        return self.backend._open_reactor()

    def keep(self, owner: Recorder) -> None:
        """Close the stream of an owner at the end."""
        self._owners.append(owner)

    def forget(self, owner: Recorder) -> None:
        """Keep no reference to an owner whose stream is lost."""
        self._owners.remove(owner)


@contextlib.contextmanager
def reports() -> Iterator[list[dict[str, Any]]]:
    """Collect what reaches the exception handler of the running loop."""
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()
    contexts: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _loop, context: contexts.append(context))
    try:
        yield contexts
    finally:
        loop.set_exception_handler(before)


async def turns(number: int = 20) -> None:
    """Let the loop turn; what is on its way arrives."""
    for _ in range(number):
        await asyncio.sleep(0)


def spin_until(is_reached: Callable[[], bool]) -> None:
    """Wait for the kernel, without a turn of the loop."""
    end = time.monotonic() + SOON
    while not is_reached():
        assert time.monotonic() < end
        os.sched_yield()


def unread(fd: int) -> int:
    """Return how many bytes wait to be read."""
    size: int = struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, b"\0" * 4))[0]
    return size


def arrive(owner: Recorder, data: bytes) -> None:
    """Send bytes to a stream; when this returns, they wait there, and nothing was read."""
    expected = unread(owner.fd) + len(data)
    assert owner.wire.sock.send(data) == len(data)
    spin_until(lambda: unread(owner.fd) == expected)


def await_events(fd: int, events: int) -> None:
    """Wait until poll(2) reports one of these events, without a turn of the loop."""
    poll = select.poll()
    poll.register(fd, events)
    spin_until(lambda: any(found & events for _fd, found in poll.poll(0)))


def arrive_end(owner: Recorder) -> None:
    """Send the end to a stream; when this returns, it waits there."""
    owner.wire.end()
    await_events(owner.fd, select.POLLRDHUP)


def arrive_reset(owner: Recorder) -> None:
    """Reset the connection of a stream; when this returns, the kernel knows."""
    owner.wire.reset()
    await_events(owner.fd, select.POLLERR | select.POLLHUP)


def epolls() -> set[int]:
    """Return the epoll descriptors of this process."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            if "eventpoll" in os.readlink(f"/proc/self/fd/{name}"):
                found.add(int(name))
    return found


def watched_events(fd: int) -> int | None:
    """Return the events for which any epoll of this process watches a descriptor; None for none."""
    for epoll in epolls():
        with open(f"/proc/self/fdinfo/{epoll}") as lines:
            for line in lines:
                if line.startswith("tfd:") and int(line.split()[1]) == fd:
                    return int(line.split()[3], 16)
    return None
