"""What is known of a name, for how long, and who asks; the clock is the test's."""

import asyncio
import contextlib
import socket
from typing import Any, cast

import pytest

from cmux_proxy.errors import UnavailableReason, UpstreamUnavailable
from cmux_proxy.upstream.dns_cache import (
    GOOD_FOR,
    MOST_RUNNING,
    MOST_RUNNING_NEW,
    DnsCache,
    Found,
    is_name,
    is_unknown,
    named_address,
)
from tests.helpers.timing import soon
from tests.helpers.wire import Wire, WireListener

HOST = "some.example"
UNSURE = socket.gaierror(socket.EAI_AGAIN, "no resolver answers")


class Resolver:
    """The running loop, but for its clock and what names have; each search waits for `answer`."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.address = "192.0.2.1"
        self.error: Exception | None = None
        self.asked: list[str] = []
        self.is_asked = asyncio.Event()
        self.answer = asyncio.Event()
        self.answer.set()

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio.get_running_loop(), name)

    def time(self) -> float:
        return self.now

    async def look_up(self, host: str) -> list[Any]:
        self.asked.append(host)
        self.is_asked.set()
        await self.answer.wait()
        if self.error is not None:
            raise self.error
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (self.address, 0))]


def names() -> tuple[Resolver, DnsCache]:
    resolver = Resolver()
    return resolver, DnsCache(cast(asyncio.AbstractEventLoop, resolver), resolver.look_up)


async def address(known: DnsCache, host: str = HOST) -> str:
    return str((await soon(known.find(host, 80))).infos[0][4][0])


async def until_idle(known: DnsCache) -> None:
    while known._searches:
        await soon(asyncio.wait([search.task for search in known._searches.values()]))
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
    async def found(_host: str) -> list[Any]:
        return [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1", 0, 0, 7))]

    known = DnsCache(asyncio.get_running_loop(), found)
    assert (await soon(known.find(HOST, 80))).infos[0][4] == ("fe80::1", 80, 0, 7)


async def test_a_name_in_use_is_looked_up_again_before_its_answer_is_too_old() -> None:
    resolver, known = names()
    assert await address(known) == "192.0.2.1"
    resolver.now += GOOD_FOR / 2 - 0.1
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


async def test_an_answer_that_is_too_old_is_not_given() -> None:
    resolver, known = names()
    await address(known)
    resolver.now += GOOD_FOR
    resolver.address = "192.0.2.2"
    assert await address(known) == "192.0.2.2"


@pytest.mark.parametrize(
    "error",
    [
        socket.gaierror(socket.EAI_NONAME, "gone"),
        socket.gaierror(socket.EAI_NODATA, "no address"),
        UnicodeError("label too long"),
    ],
    ids=["unknown", "without an address", "not encodable"],
)
async def test_a_name_that_is_gone_is_forgotten(error: Exception) -> None:
    resolver, known = names()
    await address(known)
    resolver.now += GOOD_FOR / 2
    resolver.error = error
    assert await address(known) == "192.0.2.1"
    await until_idle(known)
    for _ in range(2):
        with pytest.raises(type(error)):
            await address(known)
    resolver.error = None
    assert await address(known) == "192.0.2.1"


# A resolver that fails


async def test_a_resolver_that_fails_takes_no_address_away() -> None:
    resolver, known = names()
    await address(known)
    resolver.error = UNSURE
    for _ in range(3):
        resolver.now += GOOD_FOR
        assert await address(known) == "192.0.2.1"
    # It is not asked for every request either.
    assert len(resolver.asked) == 4
    assert known.has(HOST, "192.0.2.1")
    await address(known)
    assert len(resolver.asked) == 4
    resolver.error = None
    resolver.address = "192.0.2.2"
    resolver.now += GOOD_FOR
    assert await address(known) == "192.0.2.2"


async def test_an_answer_does_for_a_minute_at_most() -> None:
    resolver, known = names()
    await address(known)
    resolver.error = UNSURE
    for _ in range(11):
        resolver.now += GOOD_FOR
        await address(known)
    resolver.now += GOOD_FOR
    for _ in range(2):
        with pytest.raises(socket.gaierror):
            await address(known)


async def test_a_name_that_fails_at_once_is_not_known() -> None:
    resolver, known = names()
    resolver.error = UNSURE
    with pytest.raises(socket.gaierror):
        await address(known)
    assert not known.has(HOST, "192.0.2.1")


async def test_a_resolver_that_takes_its_time_holds_nobody_up_who_has_an_answer() -> None:
    resolver, known = names()
    await address(known)
    resolver.answer.clear()
    resolver.is_asked.clear()
    resolver.now += GOOD_FOR
    waiting = asyncio.get_running_loop().create_task(known.find(HOST, 80))
    await soon(resolver.is_asked.wait())
    # It has been waited for long enough by now.
    resolver.now += 1
    found = await soon(known.find(HOST, 80))
    assert (found.infos[0][4][0], found.is_new) == ("192.0.2.1", False)
    resolver.address = "192.0.2.2"
    resolver.answer.set()
    await soon(waiting)
    await until_idle(known)
    assert await address(known) == "192.0.2.2"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (socket.gaierror(socket.EAI_NONAME, ""), True),
        (socket.gaierror(socket.EAI_AGAIN, ""), False),
        (UnicodeError(), True),
        (OSError(socket.EAI_NONAME, ""), False),
    ],
    ids=["no name", "try again", "not encodable", "no error of the resolver"],
)
def test_some_errors_say_that_there_is_no_name(error: Exception, expected: bool) -> None:
    assert is_unknown(error) is expected


# Who has an address


@pytest.mark.parametrize(
    ("host", "expected"),
    [("some.example", True), ("localhost", True), ("127.0.0.1", False), ("::1", False)],
)
def test_a_host_is_a_name_or_an_address(host: str, expected: bool) -> None:
    assert is_name(host) is expected


@pytest.mark.parametrize(("host", "expected"), [(HOST, "127.0.0.1"), ("127.0.0.1", None)])
async def test_a_connection_tells_where_its_name_has_led(host: str, expected: str | None) -> None:
    with contextlib.closing(WireListener()) as listener:
        wire = await Wire.to("127.0.0.1", listener.port)
        with wire:
            assert named_address(host, wire.sock) == expected


def test_a_connection_that_was_reset_is_no_names() -> None:
    with socket.socket() as sock:
        assert named_address(HOST, sock) == ""


async def test_an_address_is_a_names_as_long_as_it_is_known_to_be() -> None:
    resolver, known = names()
    assert not known.has(HOST, "192.0.2.1")
    await address(known)
    assert known.has(HOST, "192.0.2.1")
    assert not known.has(HOST, "192.0.2.2")
    # To ask for it is to use the name.
    resolver.now += GOOD_FOR / 2
    resolver.address = "192.0.2.2"
    assert known.has(HOST, "192.0.2.1")
    await until_idle(known)
    assert not known.has(HOST, "192.0.2.1")
    assert known.has(HOST, "192.0.2.2")
    resolver.now += GOOD_FOR
    assert not known.has(HOST, "192.0.2.2")


# Who asks


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


# Who waits for a place


def begin(known: DnsCache, *hosts: str) -> "list[asyncio.Task[Found]]":
    """Have requests for these names wait."""
    loop = asyncio.get_running_loop()
    return [loop.create_task(known.find(host, 80)) for host in hosts]


def many(count: int, start: str = "host") -> list[str]:
    return [f"{start}-{number}.example" for number in range(count)]


async def turns() -> None:
    """Let everything happen that can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def leave(waiting: "list[asyncio.Task[Found]]") -> None:
    for one in waiting:
        one.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_few_names_are_looked_up_at_a_time_and_the_others_have_their_turn() -> None:
    resolver, known = names()
    resolver.answer.clear()
    waiting = begin(known, *many(100))
    await turns()
    assert resolver.asked == many(MOST_RUNNING_NEW)
    resolver.answer.set()
    await soon(asyncio.gather(*waiting))
    assert resolver.asked == many(100)
    assert known._queued == 0


async def test_a_name_that_nobody_waits_for_any_more_is_not_looked_up() -> None:
    resolver, known = names()
    resolver.answer.clear()
    waiting = begin(known, *many(400))
    await turns()
    await leave(waiting)
    await turns()
    # What has begun goes on, and what it tells is kept.
    assert sorted(known._searches) == sorted(many(MOST_RUNNING_NEW))
    assert known._queued == 0
    new = begin(known, "new.example")
    resolver.answer.set()
    await soon(asyncio.gather(*new))
    await until_idle(known)
    assert resolver.asked == [*many(MOST_RUNNING_NEW), "new.example"]
    assert await address(known, "host-0.example") == "192.0.2.1"
    assert resolver.asked[-1] == "new.example"


async def test_who_asks_right_behind_one_that_gave_up_gets_an_answer() -> None:
    resolver, known = names()
    resolver.answer.clear()
    blocking = begin(known, *many(MOST_RUNNING_NEW))
    [first] = begin(known, HOST)
    await turns()
    first.cancel()
    await asyncio.wait([first])
    [second] = begin(known, HOST)
    resolver.answer.set()
    assert (await soon(second)).is_new
    await soon(asyncio.gather(*blocking))
    assert resolver.asked.count(HOST) == 1


async def test_one_of_two_that_gives_up_takes_the_answer_from_nobody() -> None:
    resolver, known = names()
    resolver.answer.clear()
    blocking = begin(known, *many(MOST_RUNNING_NEW))
    first, second = begin(known, HOST, HOST)
    await turns()
    await leave([first])
    resolver.answer.set()
    assert (await soon(second)).is_new
    await soon(asyncio.gather(*blocking))


async def test_names_that_are_known_have_places_of_their_own() -> None:
    resolver, known = names()
    await address(known)
    resolver.answer.clear()
    waiting = begin(known, *many(100))
    await turns()
    resolver.now += GOOD_FOR / 2
    assert await address(known) == "192.0.2.1"
    await turns()
    assert resolver.asked[-1] == HOST
    assert len(resolver.asked) == 1 + MOST_RUNNING_NEW + 1
    await leave(waiting)
    resolver.answer.set()
    await until_idle(known)


async def test_a_search_that_renews_what_is_known_goes_on_when_nobody_waits() -> None:
    resolver, known = names()
    for host in many(MOST_RUNNING + 1, "old"):
        await address(known, host)
    resolver.answer.clear()
    resolver.now += GOOD_FOR
    waiting = begin(known, *many(MOST_RUNNING + 1, "old"))
    await turns()
    await leave(waiting)
    resolver.answer.set()
    await until_idle(known)
    assert len(resolver.asked) == 2 * (MOST_RUNNING + 1)


async def test_so_many_names_wait_and_one_more_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    resolver, known = names()
    await address(known)
    resolver.answer.clear()
    waiting = begin(known, *many(MOST_RUNNING_NEW, "slow"))
    await turns()
    monkeypatch.setattr("cmux_proxy.upstream.dns_cache.MOST_WAITING", 5)
    waiting += begin(known, *many(5))
    await turns()
    with pytest.raises(UpstreamUnavailable) as raised:
        await soon(known.find("one-more.example", 80))
    assert raised.value.reason is UnavailableReason.RESOURCE_LIMIT
    assert raised.value.retryable
    # Who waits for the same name takes no place more, and what is known is renewed.
    waiting += begin(known, "host-0.example")
    resolver.now += GOOD_FOR / 2
    assert known.has(HOST, "192.0.2.1")
    await turns()
    assert resolver.asked[-1] == HOST
    await leave(waiting)
    resolver.answer.set()
    await until_idle(known)
    assert await address(known, "one-more.example") == "192.0.2.1"


async def test_to_ask_anew_is_to_ask() -> None:
    resolver, known = names()
    await address(known)
    resolver.address = "192.0.2.2"
    assert (await soon(known.refresh(HOST, 80))).infos[0][4][0] == "192.0.2.2"
    assert await address(known) == "192.0.2.2"


async def test_what_is_known_is_bounded_and_the_oldest_goes_first() -> None:
    resolver, known = names()
    for number in range(1024):
        await address(known, f"host-{number}.example")
    resolver.now += GOOD_FOR
    await address(known, "host-0.example")
    await address(known, "one-more.example")
    assert len(known._known) == 1024
    assert "host-1.example" not in known._known
    assert "host-0.example" in known._known
