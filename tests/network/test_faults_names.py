"""A name that cannot be looked up, for now or for long, and one whose address changes."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable

import pytest

from cmux_proxy import Timeouts
from cmux_proxy.config.sections import Routing
from cmux_proxy.net.happy_eyeballs import AddressInfo
from cmux_proxy.upstream.dns_cache import LIMITS, LookUpLimits
from cmux_proxy.upstream.resolver import Resolver
from tests.helpers.proxies import local_config
from tests.helpers.script import ROUTE, Peer, Stage, get, head, stage
from tests.helpers.timing import MS, later
from tests.helpers.wire import Wire, WireListener

OK = head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"


class Names:
    """What look-ups find: `address`, a failure where it is None, and nothing for as
    long as `is_silent`."""

    def __init__(self) -> None:
        self.address: str | None = None
        self.is_silent = False
        self.asked = 0
        self._speaks = asyncio.Event()

    def speak(self) -> None:
        """Answer, those who have waited too."""
        self.is_silent = False
        self._speaks.set()

    async def look_up(self, _resolver: Resolver, host: str) -> list[AddressInfo]:
        assert host == "service.test"
        self.asked += 1
        if self.is_silent:
            await self._speaks.wait()
        if self.address is None:
            raise socket.gaierror(socket.EAI_AGAIN, "as the test says")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (self.address, 0))]


@contextlib.asynccontextmanager
async def named(timeouts: Timeouts | None = None) -> AsyncIterator[tuple[Stage, Names]]:
    """Set up a proxy whose services are on a machine with a name."""
    names = Names()
    config = local_config(upstream_host="service.test", timeouts=timeouts or Timeouts())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Resolver, "look_up", lambda *asked: names.look_up(*asked))
        async with stage(config) as on:
            yield on, names


async def serve(accepted: Awaitable[Wire]) -> Wire:
    """Have a service that is asked answer; return its connection."""
    wire = await later(accepted)
    await wire.receive()
    await wire.send(OK)
    return wire


async def test_a_look_up_that_fails_is_told_and_the_next_one_may_succeed() -> None:
    async with named() as (on, names):
        client = await on.client()
        for _ in range(3):
            await client.says(get())
            told = await client.gets_error(502, "dns_error")
            assert told.startswith(f"the host of service.test:{on.port} could not be looked up;")
        names.address = "127.0.0.1"
        await client.says(get())
        with await serve(on.listener.accept()):
            await client.gets(OK)
        assert names.asked == 4


async def test_a_look_up_without_an_answer_is_given_up_and_holds_nobody_up() -> None:
    async with named(Timeouts(connect=300 * MS)) as (on, names):
        names.is_silent = True
        clients = [await on.client() for _ in range(20)]
        for client in clients:
            await client.says(head("CONNECT a:1 HTTP/1.1", "Host: a:1", ROUTE))
        # Who needs no name is served meanwhile.
        await on.serves()
        for client in clients:
            await client.gets_error(504, "connection_timeout", closes=True)
        assert names.asked == 1


async def test_a_client_that_leaves_during_a_look_up_leaves_nothing_behind() -> None:
    async with named() as (on, names):
        names.is_silent = True
        for _ in range(20):
            client = await on.client()
            await client.says(get())
            await on.serves()
            client.resets()
        await on.serves()
        # They have all waited for one look-up, which goes on without them.
        assert names.asked == 1
        names.address = "127.0.0.1"
        names.speak()
        client = await on.client()
        await client.says(get())
        with await serve(on.listener.accept()):
            await client.gets(OK)


async def test_once_the_old_address_is_gone_all_requests_reach_the_new_one() -> None:
    async with named() as (on, names):
        names.address = "127.0.0.1"
        moved = WireListener("127.0.0.2", on.port)
        client = await on.client()
        with contextlib.closing(moved):
            await client.says(get())
            with await serve(on.listener.accept()):
                await client.gets(OK)
            on.listener.close()
            names.address = "127.0.0.2"
            # Whether the proxy has noticed the end by now or not: this may be sent again.
            await client.says(get())
            with await serve(moved.accept()):
                await client.gets(OK)


# Many names


class Silence:
    """A resolver that says nothing on any name until it may, and then knows them all."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.may_speak = asyncio.Event()

    async def look_up(self, _resolver: Resolver, host: str) -> list[AddressInfo]:
        self.asked.append(host)
        await self.may_speak.wait()
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]


@contextlib.asynccontextmanager
async def silent(limits: LookUpLimits = LIMITS) -> AsyncIterator[tuple[Stage, Silence]]:
    """Set up a proxy whose workspaces are machines with names."""
    names = Silence()
    routing = Routing(workspace_host="{workspace}.names.test")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Resolver, "look_up", lambda *asked: names.look_up(*asked))
        patch.setattr("cmux_proxy.upstream.dns_cache.LIMITS", limits)
        timeouts = Timeouts(connect=3600)
        async with stage(local_config(routing=routing, timeouts=timeouts)) as on:
            yield on, names


async def asks(on: Stage, workspace: str) -> Peer:
    client = await on.client()
    await client.says(get("/", f"X-Cmux-Workspace-Internal: {workspace}"))
    return client


async def test_names_that_nobody_waits_for_any_more_hold_no_new_ones_up() -> None:
    async with silent() as (on, names):
        clients = [await asks(on, f"silent-{number}") for number in range(60)]
        await on.serves()
        for client in clients:
            client.resets()
        client = await asks(on, "new")
        await on.serves()
        names.may_speak.set()
        with await serve(on.listener.accept()):
            await client.gets(OK)
        # Those that had begun went on, the others were never asked.
        assert len(names.asked) == LIMITS.running_new + 1
        assert names.asked[-1] == "new.names.test"


async def test_where_too_many_names_wait_one_more_is_refused() -> None:
    async with silent(LIMITS._replace(waiting=LIMITS.running_new)) as (on, names):
        clients = [await asks(on, f"silent-{number}") for number in range(LIMITS.running_new)]
        await on.serves()
        clients += [await asks(on, f"waiting-{number}") for number in range(LIMITS.running_new)]
        await on.serves()
        client = await asks(on, "one-more")
        told = await client.gets_error(503, "connection_limit_reached", "Retry-After: 1")
        assert told == "too many names are being looked up; try again soon"
        for waiting in clients:
            waiting.resets()
        await on.serves()
        names.may_speak.set()
        await client.says(get("/", "X-Cmux-Workspace-Internal: one-more"))
        with await serve(on.listener.accept()):
            await client.gets(OK)
