"""The system's resolver, asked in threads; where the test needs a slow one, it is the test's."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from cmux_proxy.upstream.resolver import Resolver
from tests.helpers.timing import SOON, soon
from tests.helpers.wire import Wire, WireListener

HOST = "some.example"


class Slow:
    """A resolver that answers once it may; `busy` says how many it keeps waiting."""

    def __init__(self) -> None:
        self.may_answer = threading.Event()
        self.busy = threading.Semaphore(0)
        self.threads: list[threading.Thread] = []

    def __call__(self, host: str, port: int, **_: Any) -> list[Any]:
        self.threads.append(threading.current_thread())
        self.busy.release()
        assert self.may_answer.wait(SOON)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", port))]

    def keeps_waiting(self, count: int) -> None:
        for _ in range(count):
            assert self.busy.acquire(timeout=SOON)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Slow]:
    slow = Slow()
    monkeypatch.setattr(socket, "getaddrinfo", slow)
    yield slow
    slow.may_answer.set()
    for thread in slow.threads:
        thread.join(SOON)


async def asked(of: Resolver, count: int, slow: Slow) -> list["asyncio.Task[list[Any]]"]:
    """Ask for so many names; return when all are on their way."""
    loop = asyncio.get_running_loop()
    waiting = [loop.create_task(of.look_up(f"{number}.example")) for number in range(count)]
    await asyncio.sleep(0)
    await asyncio.to_thread(slow.keeps_waiting, count)
    return waiting


async def test_a_name_has_addresses() -> None:
    found = await soon(Resolver(asyncio.get_running_loop()).look_up("localhost"))
    assert {info[4][0] for info in found} <= {"127.0.0.1", "::1"}
    assert {(info[1], info[4][1]) for info in found} == {(socket.SOCK_STREAM, 0)}


async def test_what_goes_wrong_is_raised() -> None:
    with pytest.raises(UnicodeError):
        await soon(Resolver(asyncio.get_running_loop()).look_up("a" * 64))


async def test_names_that_take_their_time_hold_up_no_connections(slow: Slow) -> None:
    waiting = await asked(Resolver(asyncio.get_running_loop()), 20, slow)
    with contextlib.closing(WireListener()) as listener:
        (await Wire.to("127.0.0.1", listener.port)).close()
    slow.may_answer.set()
    for found in await soon(asyncio.gather(*waiting)):
        assert found[0][4] == ("192.0.2.1", 0)


def test_an_answer_that_comes_after_the_end_is_for_nobody(slow: Slow) -> None:
    async def ask_and_leave() -> None:
        [waiting] = await asked(Resolver(asyncio.get_running_loop()), 1, slow)
        waiting.cancel()

    asyncio.run(ask_and_leave())
    slow.may_answer.set()
    slow.threads[0].join(SOON)
    assert not slow.threads[0].is_alive()
    assert slow.threads[0].daemon
