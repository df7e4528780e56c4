"""DNS look-ups that fail or hang, and a name whose address changes."""

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


class FakeResolver:
    """Finds `address`, fails if it is None, and waits while `is_silent`; counts look-ups."""

    def __init__(self) -> None:
        self.address: str | None = None
        self.is_silent = False
        self.lookups = 0
        self._may_respond = asyncio.Event()

    def respond(self) -> None:
        """Respond to all look-ups, including those that wait."""
        self.is_silent = False
        self._may_respond.set()

    async def look_up(self, _resolver: Resolver, host: str) -> list[AddressInfo]:
        assert host == "service.test"
        self.lookups += 1
        if self.is_silent:
            await self._may_respond.wait()
        if self.address is None:
            raise socket.gaierror(socket.EAI_AGAIN, "look-up failed")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (self.address, 0))]


@contextlib.asynccontextmanager
async def named(timeouts: Timeouts | None = None) -> AsyncIterator[tuple[Stage, FakeResolver]]:
    """Start a proxy whose upstream host is a name."""
    resolver = FakeResolver()
    config = local_config(upstream_host="service.test", timeouts=timeouts or Timeouts())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Resolver, "look_up", lambda *arguments: resolver.look_up(*arguments))
        async with stage(config) as on:
            yield on, resolver


async def serve(accepted: Awaitable[Wire]) -> Wire:
    """Respond to the next request of a service; return its connection."""
    wire = await later(accepted)
    await wire.receive()
    await wire.send(OK)
    return wire


async def test_a_look_up_that_fails_gets_502_and_the_next_one_may_succeed() -> None:
    async with named() as (on, resolver):
        client = await on.client()
        for _ in range(3):
            await client.says(get())
            message = await client.gets_error(502, "dns_error")
            assert message.startswith(f"the host of service.test:{on.port} could not be looked up;")
        resolver.address = "127.0.0.1"
        await client.says(get())
        with await serve(on.listener.accept()):
            await client.gets(OK)
        assert resolver.lookups == 4


async def test_a_look_up_without_a_response_times_out_and_delays_no_other_request() -> None:
    async with named(Timeouts(connect=300 * MS)) as (on, resolver):
        resolver.is_silent = True
        clients = [await on.client() for _ in range(20)]
        for client in clients:
            await client.says(head("CONNECT a:1 HTTP/1.1", "Host: a:1", ROUTE))
        # A request that needs no look-up is served meanwhile.
        await on.serves()
        for client in clients:
            await client.gets_error(504, "connection_timeout", closes=True)
        assert resolver.lookups == 1


async def test_clients_that_disconnect_during_a_look_up_leave_nothing_behind() -> None:
    async with named() as (on, resolver):
        resolver.is_silent = True
        for _ in range(20):
            client = await on.client()
            await client.says(get())
            await on.serves()
            client.resets()
        await on.serves()
        # All have waited for the same look-up, which continues.
        assert resolver.lookups == 1
        resolver.address = "127.0.0.1"
        resolver.respond()
        client = await on.client()
        await client.says(get())
        with await serve(on.listener.accept()):
            await client.gets(OK)


async def test_after_a_change_of_address_all_requests_reach_the_new_one() -> None:
    async with named() as (on, resolver):
        resolver.address = "127.0.0.1"
        moved = WireListener("127.0.0.2", on.port)
        client = await on.client()
        with contextlib.closing(moved):
            await client.says(get())
            with await serve(on.listener.accept()):
                await client.gets(OK)
            on.listener.close()
            resolver.address = "127.0.0.2"
            # This request may be retried, so it makes no difference whether the proxy has noticed
            # the end of the idle connection.
            await client.says(get())
            with await serve(moved.accept()):
                await client.gets(OK)


# Many look-ups


class BlockedResolver:
    """Lets all look-ups wait until `may_respond` is set; `hosts` are the names looked up."""

    def __init__(self) -> None:
        self.hosts: list[str] = []
        self.may_respond = asyncio.Event()

    async def look_up(self, _resolver: Resolver, host: str) -> list[AddressInfo]:
        self.hosts.append(host)
        await self.may_respond.wait()
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]


@contextlib.asynccontextmanager
async def blocked_resolver(
    limits: LookUpLimits = LIMITS,
) -> AsyncIterator[tuple[Stage, BlockedResolver]]:
    """Start a proxy whose workspaces have host names."""
    resolver = BlockedResolver()
    routing = Routing(workspace_host="{workspace}.names.test")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Resolver, "look_up", lambda *arguments: resolver.look_up(*arguments))
        patch.setattr("cmux_proxy.upstream.dns_cache.LIMITS", limits)
        timeouts = Timeouts(connect=3600)
        async with stage(local_config(routing=routing, timeouts=timeouts)) as on:
            yield on, resolver


async def request_workspace(on: Stage, workspace: str) -> Peer:
    client = await on.client()
    await client.says(get("/", f"X-Cmux-Workspace-Internal: {workspace}"))
    return client


async def test_look_ups_that_no_request_waits_for_do_not_delay_new_ones() -> None:
    async with blocked_resolver() as (on, resolver):
        clients = [await request_workspace(on, f"running-{number}") for number in range(60)]
        await on.serves()
        for client in clients:
            client.resets()
        client = await request_workspace(on, "new")
        await on.serves()
        resolver.may_respond.set()
        with await serve(on.listener.accept()):
            await client.gets(OK)
        # Look-ups that were running continued; those that waited never started.
        assert len(resolver.hosts) == LIMITS.running_new + 1
        assert resolver.hosts[-1] == "new.names.test"


async def test_beyond_the_limit_of_waiting_look_ups_a_new_one_is_refused() -> None:
    async with blocked_resolver(LIMITS._replace(waiting=LIMITS.running_new)) as (on, resolver):
        clients = [
            await request_workspace(on, f"running-{number}") for number in range(LIMITS.running_new)
        ]
        await on.serves()
        clients += [
            await request_workspace(on, f"waiting-{number}") for number in range(LIMITS.running_new)
        ]
        await on.serves()
        client = await request_workspace(on, "refused")
        message = await client.gets_error(503, "connection_limit_reached", "Retry-After: 1")
        assert message == "too many names are being looked up; try again soon"
        for waiting_client in clients:
            waiting_client.resets()
        await on.serves()
        resolver.may_respond.set()
        await client.says(get("/", "X-Cmux-Workspace-Internal: refused"))
        with await serve(on.listener.accept()):
            await client.gets(OK)
