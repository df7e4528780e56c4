"""What is known of a name, for how long, and who asks; the clock is the test's."""

import asyncio
import socket
from typing import Any, cast

import pytest

from cmux_proxy.upstream.names import GOOD_FOR, Names
from tests.helpers.timing import soon

HOST = "some.example"


class Resolver:
    """The running loop, but for its clock and what names have; each search waits for `answer`."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.address = "192.0.2.1"
        self.error: Exception | None = None
        self.asked: list[str] = []
        self.answer = asyncio.Event()
        self.answer.set()

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio.get_running_loop(), name)

    def time(self) -> float:
        return self.now

    async def getaddrinfo(self, host: str, port: int, **_: Any) -> list[Any]:
        self.asked.append(host)
        await self.answer.wait()
        if self.error is not None:
            raise self.error
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (self.address, port))]


def names() -> tuple[Resolver, Names]:
    resolver = Resolver()
    return resolver, Names(cast(asyncio.AbstractEventLoop, resolver))


async def address(known: Names, host: str = HOST) -> str:
    return str((await soon(known.find(host, 80))).infos[0][4][0])


async def until_idle(known: Names) -> None:
    while known._searches:
        await soon(asyncio.wait(list(known._searches.values())))
        await asyncio.sleep(0)


async def test_a_name_is_looked_up_once_and_has_every_port() -> None:
    resolver, known = names()
    first = await soon(known.find(HOST, 80))
    second = await soon(known.find(HOST, 443))
    assert (first.is_new, second.is_new) == (True, False)
    assert [found.infos[0][4] for found in (first, second)] == [
        ("192.0.2.1", 80), ("192.0.2.1", 443),
    ]  # fmt: skip
    assert resolver.asked == [HOST]


async def test_an_ipv6_address_keeps_its_scope() -> None:
    resolver, known = names()

    async def found(_host: str, port: int, **_: Any) -> list[Any]:
        return [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1", port, 0, 7))]

    resolver.getaddrinfo = found  # type: ignore[method-assign, assignment]
    assert (await soon(known.find(HOST, 80))).infos[0][4] == ("fe80::1", 80, 0, 7)


async def test_an_old_answer_is_given_while_a_new_one_is_on_its_way() -> None:
    resolver, known = names()
    assert await address(known) == "192.0.2.1"
    resolver.now += GOOD_FOR - 0.1
    assert await address(known) == "192.0.2.1"
    assert len(resolver.asked) == 1
    resolver.now += 0.1
    resolver.address = "192.0.2.2"
    resolver.answer.clear()
    for _ in range(3):
        assert await address(known) == "192.0.2.1"
    await asyncio.sleep(0)
    assert len(resolver.asked) == 2
    resolver.answer.set()
    await until_idle(known)
    assert await address(known) == "192.0.2.2"
    assert len(resolver.asked) == 2


async def test_an_answer_that_is_much_too_old_is_not_given() -> None:
    resolver, known = names()
    await address(known)
    resolver.now += 60
    resolver.address = "192.0.2.2"
    assert await address(known) == "192.0.2.2"


@pytest.mark.parametrize("error", [socket.gaierror(-2, "gone"), UnicodeError("label too long")])
async def test_a_name_that_is_gone_is_forgotten(error: Exception) -> None:
    resolver, known = names()
    await address(known)
    resolver.now += GOOD_FOR
    resolver.error = error
    assert await address(known) == "192.0.2.1"
    await until_idle(known)
    for _ in range(2):
        with pytest.raises(type(error)):
            await address(known)
    resolver.error = None
    assert await address(known) == "192.0.2.1"


async def test_who_asks_at_the_same_time_gets_the_same_answer() -> None:
    resolver, known = names()
    resolver.answer.clear()
    loop = asyncio.get_running_loop()
    waiting = [loop.create_task(known.find(HOST, 80)) for _ in range(5)]
    await asyncio.sleep(0)
    # One who stops waiting does not take the answer from the others.
    waiting[0].cancel()
    await asyncio.sleep(0)
    resolver.answer.set()
    found = await soon(asyncio.gather(*waiting, return_exceptions=True))
    assert isinstance(found[0], asyncio.CancelledError)
    assert len(resolver.asked) == 1
    assert not any(isinstance(one, BaseException) for one in found[1:])


async def test_a_search_that_nobody_waits_for_any_more_may_fail() -> None:
    resolver, known = names()
    resolver.answer.clear()
    resolver.error = socket.gaierror(-2, "gone")
    waiting = asyncio.get_running_loop().create_task(known.find(HOST, 80))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    resolver.answer.set()
    await until_idle(known)


async def test_to_ask_anew_is_to_ask() -> None:
    resolver, known = names()
    await address(known)
    resolver.address = "192.0.2.2"
    assert (await soon(known.find_anew(HOST, 80))).infos[0][4][0] == "192.0.2.2"
    assert await address(known) == "192.0.2.2"


async def test_what_is_known_is_bounded() -> None:
    _resolver, known = names()
    for number in range(3000):
        await address(known, f"host-{number}.example")
    assert len(known._known) <= 1024
