"""Which addresses are cached, for how long, and which look-ups run; with a clock of the test."""

import asyncio
import contextlib
import socket
from typing import Any, cast

import pytest

from cmux_proxy.errors import UnavailableReason, UpstreamUnavailable
from cmux_proxy.net.stream import Loop
from cmux_proxy.upstream.dns_cache import (
    LIMITS,
    MAX_AGE,
    DnsCache,
    LookUpLimits,
    ResolvedName,
    is_name,
    is_unknown,
    resolved_address,
)
from tests.helpers.timing import soon
from tests.helpers.wire import Wire, WireListener

HOST = "some.example"
UNSURE = socket.gaierror(socket.EAI_AGAIN, "no resolver answers")


class Resolver:
    """The running loop with a clock and names of the test; each look-up waits for `may_answer`."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.address = "192.0.2.1"
        self.error: Exception | None = None
        self.hosts: list[str] = []
        self.is_called = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio.get_running_loop(), name)

    def time(self) -> float:
        return self.now

    async def look_up(self, host: str) -> list[Any]:
        self.hosts.append(host)
        self.is_called.set()
        await self.may_answer.wait()
        if self.error is not None:
            raise self.error
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (self.address, 0))]


def names(limits: LookUpLimits = LIMITS) -> tuple[Resolver, DnsCache]:
    resolver = Resolver()
    return resolver, DnsCache(cast(Loop, resolver), resolver.look_up, limits)


async def address(cache: DnsCache, host: str = HOST) -> str:
    return str((await soon(cache.resolve(host, 80))).infos[0][4][0])


async def until_idle() -> None:
    """Wait until all look-ups and all requests have ended."""
    while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
        await soon(asyncio.wait(tasks))
        await asyncio.sleep(0)


async def test_a_name_is_looked_up_once_for_all_ports() -> None:
    resolver, cache = names()
    first = await soon(cache.resolve(HOST, 80))
    second = await soon(cache.resolve(HOST, 443))
    assert (first.is_fresh, second.is_fresh) == (True, False)
    assert [found.infos[0][4] for found in (first, second)] == [
        ("192.0.2.1", 80), ("192.0.2.1", 443),
    ]  # fmt: skip
    assert resolver.hosts == [HOST]


async def test_an_ipv6_address_keeps_its_scope() -> None:
    async def found(_host: str) -> list[Any]:
        return [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1", 0, 0, 7))]

    cache = DnsCache(asyncio.get_running_loop(), found)
    assert (await soon(cache.resolve(HOST, 80))).infos[0][4] == ("fe80::1", 80, 0, 7)


async def test_a_name_in_use_is_looked_up_again_before_its_entry_expires() -> None:
    resolver, cache = names()
    assert await address(cache) == "192.0.2.1"
    resolver.now += MAX_AGE / 2 - 0.1
    assert await address(cache) == "192.0.2.1"
    assert len(resolver.hosts) == 1
    resolver.now += 0.1
    resolver.address = "192.0.2.2"
    resolver.may_answer.clear()
    for _ in range(3):
        assert await address(cache) == "192.0.2.1"
    await asyncio.sleep(0)
    assert len(resolver.hosts) == 2
    resolver.may_answer.set()
    await until_idle()
    assert await address(cache) == "192.0.2.2"
    assert len(resolver.hosts) == 2


async def test_an_expired_entry_is_not_used() -> None:
    resolver, cache = names()
    await address(cache)
    resolver.now += MAX_AGE
    resolver.address = "192.0.2.2"
    assert await address(cache) == "192.0.2.2"


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
    resolver, cache = names()
    await address(cache)
    resolver.now += MAX_AGE / 2
    resolver.error = error
    assert await address(cache) == "192.0.2.1"
    await until_idle()
    for _ in range(2):
        with pytest.raises(type(error)):
            await address(cache)
    resolver.error = None
    assert await address(cache) == "192.0.2.1"


# A resolver that fails


async def test_a_resolver_that_fails_takes_no_address_away() -> None:
    resolver, cache = names()
    await address(cache)
    resolver.error = UNSURE
    for _ in range(3):
        resolver.now += MAX_AGE
        assert await address(cache) == "192.0.2.1"
    # It is not called for every request either.
    assert len(resolver.hosts) == 4
    assert cache.has_address(HOST, "192.0.2.1")
    await address(cache)
    assert len(resolver.hosts) == 4
    resolver.error = None
    resolver.address = "192.0.2.2"
    resolver.now += MAX_AGE
    assert await address(cache) == "192.0.2.2"


async def test_a_result_is_used_for_a_minute_at_most() -> None:
    resolver, cache = names()
    await address(cache)
    resolver.error = UNSURE
    for _ in range(11):
        resolver.now += MAX_AGE
        await address(cache)
    resolver.now += MAX_AGE
    for _ in range(2):
        with pytest.raises(socket.gaierror):
            await address(cache)


async def test_a_name_whose_first_look_up_fails_is_not_cached() -> None:
    resolver, cache = names()
    resolver.error = UNSURE
    with pytest.raises(socket.gaierror):
        await address(cache)
    assert not cache.has_address(HOST, "192.0.2.1")


async def test_a_slow_resolver_does_not_hold_up_requests_for_cached_names() -> None:
    resolver, cache = names()
    await address(cache)
    resolver.may_answer.clear()
    resolver.is_called.clear()
    resolver.now += MAX_AGE
    waiting = asyncio.get_running_loop().create_task(cache.resolve(HOST, 80))
    await soon(resolver.is_called.wait())
    # The timeout for a refresh is over.
    resolver.now += 1
    found = await soon(cache.resolve(HOST, 80))
    assert (found.infos[0][4][0], found.is_fresh) == ("192.0.2.1", False)
    resolver.address = "192.0.2.2"
    resolver.may_answer.set()
    await soon(waiting)
    await until_idle()
    assert await address(cache) == "192.0.2.2"


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
def test_some_errors_mean_that_there_is_no_such_name(error: Exception, expected: bool) -> None:
    assert is_unknown(error) is expected


# Names and addresses


@pytest.mark.parametrize(
    ("host", "expected"),
    [("some.example", True), ("localhost", True), ("127.0.0.1", False), ("::1", False)],
)
def test_a_host_is_a_name_or_an_address(host: str, expected: bool) -> None:
    assert is_name(host) is expected


@pytest.mark.parametrize(("host", "expected"), [(HOST, "127.0.0.1"), ("127.0.0.1", None)])
async def test_a_connection_has_the_address_to_which_its_name_was_resolved(
    host: str, expected: str | None
) -> None:
    with contextlib.closing(WireListener()) as listener:
        wire = await Wire.to("127.0.0.1", listener.port)
        with wire:
            assert resolved_address(host, wire.sock) == expected


def test_a_connection_that_was_reset_has_the_address_of_no_name() -> None:
    with socket.socket() as sock:
        assert resolved_address(HOST, sock) == ""


async def test_a_name_has_an_address_as_long_as_the_cache_says_so() -> None:
    resolver, cache = names()
    assert not cache.has_address(HOST, "192.0.2.1")
    await address(cache)
    assert cache.has_address(HOST, "192.0.2.1")
    assert not cache.has_address(HOST, "192.0.2.2")
    # The question counts as a use of the name.
    resolver.now += MAX_AGE / 2
    resolver.address = "192.0.2.2"
    assert cache.has_address(HOST, "192.0.2.1")
    await until_idle()
    assert not cache.has_address(HOST, "192.0.2.1")
    assert cache.has_address(HOST, "192.0.2.2")
    resolver.now += MAX_AGE
    assert not cache.has_address(HOST, "192.0.2.2")


# Several requests for one name


async def test_requests_at_the_same_time_share_a_look_up() -> None:
    resolver, cache = names()
    resolver.may_answer.clear()
    loop = asyncio.get_running_loop()
    waiting = [loop.create_task(cache.resolve(HOST, 80)) for _ in range(5)]
    await asyncio.sleep(0)
    # A request that stops waiting does not end the look-up of the others.
    waiting[0].cancel()
    await asyncio.sleep(0)
    resolver.may_answer.set()
    found = await soon(asyncio.gather(*waiting, return_exceptions=True))
    assert isinstance(found[0], asyncio.CancelledError)
    assert len(resolver.hosts) == 1
    assert not any(isinstance(result, BaseException) for result in found[1:])


async def test_a_look_up_for_which_no_request_waits_any_more_may_fail() -> None:
    resolver, cache = names()
    resolver.may_answer.clear()
    resolver.error = socket.gaierror(-2, "gone")
    waiting = asyncio.get_running_loop().create_task(cache.resolve(HOST, 80))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    resolver.may_answer.set()
    await until_idle()


# Limits


def start(cache: DnsCache, *hosts: str) -> "list[asyncio.Task[ResolvedName]]":
    """Let requests for these names wait."""
    loop = asyncio.get_running_loop()
    return [loop.create_task(cache.resolve(host, 80)) for host in hosts]


def many(count: int, start: str = "host") -> list[str]:
    return [f"{start}-{number}.example" for number in range(count)]


async def turns() -> None:
    """Let the event loop turn a few times."""
    for _ in range(10):
        await asyncio.sleep(0)


async def leave(waiting: "list[asyncio.Task[ResolvedName]]") -> None:
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_few_names_are_looked_up_at_a_time_and_the_others_wait() -> None:
    resolver, cache = names()
    resolver.may_answer.clear()
    waiting = start(cache, *many(100))
    await turns()
    assert resolver.hosts == many(LIMITS.running_new)
    resolver.may_answer.set()
    await soon(asyncio.gather(*waiting))
    assert resolver.hosts == many(100)


async def test_a_name_for_which_no_request_waits_any_more_is_not_looked_up() -> None:
    resolver, cache = names(LIMITS._replace(waiting=400))
    resolver.may_answer.clear()
    waiting = start(cache, *many(400))
    await turns()
    await leave(waiting)
    await turns()
    # As many may wait again.
    waiting = start(cache, *many(400, "other"))
    await turns()
    await leave(waiting)
    new = start(cache, "new.example")
    resolver.may_answer.set()
    await soon(asyncio.gather(*new))
    await until_idle()
    # The look-ups that had started went on, and their results are in the cache.
    assert resolver.hosts == [*many(LIMITS.running_new), "new.example"]
    assert await address(cache, "host-0.example") == "192.0.2.1"
    assert resolver.hosts[-1] == "new.example"


async def test_a_request_right_after_one_that_was_cancelled_gets_addresses() -> None:
    resolver, cache = names()
    resolver.may_answer.clear()
    blocking = start(cache, *many(LIMITS.running_new))
    [first] = start(cache, HOST)
    await turns()
    first.cancel()
    await asyncio.wait([first])
    [second] = start(cache, HOST)
    resolver.may_answer.set()
    assert (await soon(second)).is_fresh
    await soon(asyncio.gather(*blocking))
    assert resolver.hosts.count(HOST) == 1


async def test_one_of_two_requests_may_be_cancelled() -> None:
    resolver, cache = names()
    resolver.may_answer.clear()
    blocking = start(cache, *many(LIMITS.running_new))
    first, second = start(cache, HOST, HOST)
    await turns()
    await leave([first])
    resolver.may_answer.set()
    assert (await soon(second)).is_fresh
    await soon(asyncio.gather(*blocking))


async def test_cached_names_have_slots_of_their_own() -> None:
    resolver, cache = names()
    await address(cache)
    resolver.may_answer.clear()
    waiting = start(cache, *many(100))
    await turns()
    resolver.now += MAX_AGE / 2
    assert await address(cache) == "192.0.2.1"
    await turns()
    assert resolver.hosts[-1] == HOST
    assert len(resolver.hosts) == 1 + LIMITS.running_new + 1
    await leave(waiting)
    resolver.may_answer.set()
    await until_idle()


async def test_a_refresh_goes_on_when_no_request_waits() -> None:
    resolver, cache = names()
    for host in many(LIMITS.running + 1, "old"):
        await address(cache, host)
    resolver.may_answer.clear()
    resolver.now += MAX_AGE
    waiting = start(cache, *many(LIMITS.running + 1, "old"))
    await turns()
    await leave(waiting)
    resolver.may_answer.set()
    await until_idle()
    assert len(resolver.hosts) == 2 * (LIMITS.running + 1)


async def test_a_name_is_refused_where_too_many_wait() -> None:
    resolver, cache = names(LIMITS._replace(waiting=LIMITS.running_new))
    await address(cache)
    resolver.may_answer.clear()
    waiting = start(cache, *many(LIMITS.running_new, "slow"))
    await turns()
    waiting += start(cache, *many(LIMITS.running_new))
    await turns()
    with pytest.raises(UpstreamUnavailable) as raised:
        await soon(cache.resolve("one-more.example", 80))
    assert raised.value.reason is UnavailableReason.RESOURCE_LIMIT
    assert raised.value.retryable
    # A second request for the same name adds no look-up, and cached names are refreshed.
    waiting += start(cache, "host-0.example")
    resolver.now += MAX_AGE / 2
    assert cache.has_address(HOST, "192.0.2.1")
    await turns()
    assert resolver.hosts[-1] == HOST
    await leave(waiting)
    resolver.may_answer.set()
    await until_idle()
    assert await address(cache, "one-more.example") == "192.0.2.1"


async def test_a_refresh_updates_the_cache() -> None:
    resolver, cache = names()
    await address(cache)
    resolver.address = "192.0.2.2"
    assert (await soon(cache.refresh(HOST, 80))).infos[0][4][0] == "192.0.2.2"
    assert await address(cache) == "192.0.2.2"


async def test_the_cache_is_bounded_and_the_oldest_entry_goes_first() -> None:
    resolver, cache = names()
    for number in range(1024):
        await address(cache, f"host-{number}.example")
    resolver.now += MAX_AGE
    await address(cache, "host-0.example")
    await address(cache, "one-more.example")
    looked_up = len(resolver.hosts)
    await address(cache, "host-0.example")
    assert len(resolver.hosts) == looked_up
    resolver.now -= MAX_AGE
    await address(cache, "host-2.example")
    assert len(resolver.hosts) == looked_up
    await address(cache, "host-1.example")
    assert resolver.hosts[looked_up:] == ["host-1.example"]
