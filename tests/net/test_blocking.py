"""Calls that block, in threads of their own."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator

import pytest

from cmux_proxy.net.blocking import run_in_thread
from tests.helpers.timing import SOON, soon
from tests.helpers.wire import Wire, WireListener


class Blocking:
    """A call that returns once it may; `started` counts the threads that it blocks."""

    def __init__(self) -> None:
        self.may_return = threading.Event()
        self.started = threading.Semaphore(0)
        self.threads: list[threading.Thread] = []

    def __call__(self) -> str:
        self.threads.append(threading.current_thread())
        self.started.release()
        assert self.may_return.wait(SOON)
        return "done"

    def wait_for(self, count: int) -> None:
        for _ in range(count):
            assert self.started.acquire(timeout=SOON)


@pytest.fixture
def blocking() -> Iterator[Blocking]:
    blocking = Blocking()
    yield blocking
    blocking.may_return.set()
    for thread in blocking.threads:
        thread.join(SOON)


async def start(count: int, blocking: Blocking) -> list["asyncio.Task[str]"]:
    """Start as many calls; return when all of them block."""
    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(run_in_thread(loop, blocking)) for _ in range(count)]
    await asyncio.sleep(0)
    await asyncio.to_thread(blocking.wait_for, count)
    return tasks


async def test_a_call_returns_or_raises() -> None:
    def fail() -> None:
        raise LookupError("as the test says")

    loop = asyncio.get_running_loop()
    assert await soon(run_in_thread(loop, lambda: 7)) == 7
    with pytest.raises(LookupError, match="as the test says"):
        await soon(run_in_thread(loop, fail))


async def test_calls_that_block_hold_up_no_connections(blocking: Blocking) -> None:
    tasks = await start(20, blocking)
    with contextlib.closing(WireListener()) as listener:
        (await Wire.to("127.0.0.1", listener.port)).close()
    blocking.may_return.set()
    assert await soon(asyncio.gather(*tasks)) == ["done"] * 20


def test_a_call_that_returns_after_the_loops_end_is_ignored(blocking: Blocking) -> None:
    async def start_and_leave() -> None:
        [task] = await start(1, blocking)
        task.cancel()

    asyncio.run(start_and_leave())
    blocking.may_return.set()
    blocking.threads[0].join(SOON)
    assert not blocking.threads[0].is_alive()
    assert blocking.threads[0].daemon
