"""Busy polling in C: the loop polls while a window is open, and tells the windows what came of it.

The windows are the test's own: open for very long, so that a loop that ought to do something else
meanwhile never would, or closed, so that it sleeps.
"""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

pytest.importorskip("cmux_proxy.net._reactor")

from cmux_proxy.net._native_splice import NativePipe
from cmux_proxy.net.busy_poll import FROM_CLIENT, FROM_UPSTREAM
from cmux_proxy.net.splice import LIMITED_SIZE
from tests.helpers.native import Recorder, Streams
from tests.helpers.timing import MS, soon
from tests.helpers.wire import Wire
from tests.net.test_native_loop import watchdog

HOSTINGS = ["native"]
OPEN = 3600.0
CLOSED = 0.0


class RecordingWindow:
    """Has one length for ever, and records what it is told."""

    def __init__(self, length: float) -> None:
        self.length = length
        self.hits = 0
        self.misses: list[float] = []

    def hit(self) -> None:
        """Something came while the loop was polling."""
        self.hits += 1

    def miss(self, wait: float) -> None:
        """Something came while the loop was sleeping."""
        self.misses.append(wait)


class Polling:
    """A client and an upstream of a loop that polls, and the loop's windows."""

    def __init__(self, client: Recorder, upstream: Recorder, lengths: tuple[float, float]) -> None:
        self.streams = (client, upstream)
        self.windows = (RecordingWindow(lengths[0]), RecordingWindow(lengths[1]))

    async def arrival(self, sender: int) -> None:
        """Let a byte arrive; the loop waits for it at least once."""
        owner = self.streams[sender]
        owner.wire.sock.send(b"x")
        await owner.receives(bytes(owner.received) + b"x")

    async def learns(self) -> None:
        """Let the loop wait until it has looked back at the wait before the last arrival."""
        before = self.results()
        while True:
            # A timer ends the wait, in which nothing arrives.
            await asyncio.sleep(1 * MS)
            if self.results() != before:
                return

    def results(self) -> list[tuple[int, int]]:
        """Return the numbers of hits and misses: of the client's window, and the upstream's."""
        return [(window.hits, len(window.misses)) for window in self.windows]


@contextlib.asynccontextmanager
async def polling(client: float, upstream: float) -> AsyncIterator[Polling]:
    """Let the running loop poll after arrivals of either side for these times, in seconds."""
    async with Streams() as streams:
        client_owner = await accept(streams)
        made = Polling(client_owner, await streams.open(), (client, upstream))
        loop: Any = asyncio.get_running_loop()
        loop._turns.poll_busily(made.windows)
        with watchdog(), contextlib.closing(client_owner.wire):
            yield made


async def accept(streams: Streams) -> Recorder:
    """Return the owner of a stream that was accepted."""
    owner = Recorder()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        [acceptor] = streams.backend.make_acceptors([listener], lambda: owner, lambda _: True, True)
        await acceptor.start()
        owner.wire = Wire(socket.create_connection(listener.getsockname()))
        await owner.until(lambda: "connection_made" in owner.calls)
        acceptor.stop()
    streams.keep(owner)
    return owner


async def test_the_loop_polls_while_the_window_of_the_last_sender_is_open() -> None:
    async with polling(client=OPEN, upstream=CLOSED) as on:
        await on.arrival(FROM_CLIENT)
        await on.arrival(FROM_UPSTREAM)
        assert on.results() == [(0, 1), (0, 0)]
        await on.arrival(FROM_CLIENT)
        assert on.results() == [(1, 1), (0, 0)]
        await on.learns()
        assert on.results() == [(1, 1), (0, 1)]


async def test_bytes_that_the_kernel_moves_are_arrivals_too() -> None:
    moved = asyncio.Event()
    async with polling(client=CLOSED, upstream=CLOSED) as on:
        client, upstream = on.streams
        with contextlib.closing(NativePipe(True, LIMITED_SIZE)) as pipe:
            pipe.start(upstream.stream, client.stream, None, lambda _count: moved.set())
            await upstream.wire.send(b"moved")
            await soon(moved.wait())
        await on.learns()
        await on.arrival(FROM_CLIENT)
        await on.learns()
        # The second wait was for what follows bytes of the upstream.
        assert on.results() == [(0, 1), (0, 1)]


async def test_each_side_has_its_own_window() -> None:
    async with polling(client=CLOSED, upstream=OPEN) as on:
        await on.arrival(FROM_CLIENT)
        for number in range(1, 4):
            await on.arrival(FROM_UPSTREAM)
            await on.arrival(FROM_CLIENT)
            await on.learns()
            assert on.results()[FROM_UPSTREAM] == (number, 0)
            assert on.results()[FROM_CLIENT][0] == 0


async def test_a_miss_knows_how_long_the_wait_was() -> None:
    async with polling(client=CLOSED, upstream=CLOSED) as on:
        await asyncio.sleep(20 * MS)
        await on.arrival(FROM_UPSTREAM)
        before = time.monotonic()
        # The wait has started when the one before it is learnt from.
        await on.learns()
        started = time.monotonic()
        # Waits without an arrival are parts of one wait.
        await asyncio.sleep(5 * MS)
        await asyncio.sleep(5 * MS)
        ended = time.monotonic()
        await on.arrival(FROM_CLIENT)
        await on.learns()
        [wait] = on.windows[FROM_UPSTREAM].misses
        assert ended - started <= wait <= time.monotonic() - before


async def test_a_wait_that_goes_on_after_the_window_is_a_miss() -> None:
    async with polling(client=CLOSED, upstream=1 * MS) as on:
        await on.arrival(FROM_UPSTREAM)
        await on.learns()
        await asyncio.sleep(3 * MS)
        await on.arrival(FROM_UPSTREAM)
        await on.learns()
        assert on.results()[FROM_UPSTREAM] == (0, 1)


async def test_a_timer_is_due_while_the_loop_polls() -> None:
    async with polling(client=OPEN, upstream=OPEN) as on:
        await on.arrival(FROM_CLIENT)
        await asyncio.sleep(2 * MS)


async def test_other_threads_run_while_the_loop_polls() -> None:
    async with polling(client=OPEN, upstream=OPEN) as on:
        await on.arrival(FROM_CLIENT)
        # The result wakes the loop through a descriptor of asyncio's.
        await soon(asyncio.to_thread(sum, range(1000)))
