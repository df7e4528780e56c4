"""A small cluster: three machines in network namespaces, dnsmasq, and the proxy.

Every machine listens on the same port and responds with its name. The proxy finds them with
`--workspace-host {workspace}.machines.test`.
"""

import asyncio
import contextlib
import itertools
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest

from tests.helpers.machines import (
    NAME_SERVER,
    NameServer,
    Namespace,
    Network,
    name_server,
    network,
    with_name_server,
)
from tests.helpers.messages import Message, Reader
from tests.helpers.origins import Behaviour, OriginConnection, echo_bytes, http_response, serving
from tests.helpers.proxies import ProxyProcess, proxy_process
from tests.helpers.script import SWITCHING, head
from tests.helpers.timing import SOON, soon
from tests.helpers.wire import Wire, WireListener

PORT: Final = 3000
DOMAIN: Final = "machines.test"
ADDRESSES: Final = {"m1": "10.99.0.11", "m2": "10.99.0.12", "m3": "10.99.0.13"}
MAX_ROUNDS: Final = 20_000
DNS_ERROR: Final = "cmux-proxy; error=dns_error"


def naming(name: str) -> Behaviour:
    """Respond with the name of the machine; send it first in a tunnel."""

    async def behave(connection: OriginConnection) -> None:
        while (request := await connection.request()) is not None:
            if request.field("upgrade") is not None:
                await connection.send(SWITCHING + name.encode())
                await echo_bytes(connection)
                return
            await connection.send(http_response(name.encode()))

    return behave


def named(addresses: dict[str, str]) -> dict[str, list[str]]:
    return {f"{name}.{DOMAIN}": [address] for name, address in addresses.items()}


class Cluster:
    """Machines by name, and the proxy in front of them."""

    def __init__(self, net: Network, names: NameServer, home: Namespace) -> None:
        self.names = names
        self._net = net
        self._home = home
        self._machines: dict[str, contextlib.AsyncExitStack] = {}
        self._proxy: ProxyProcess

    async def add(self, name: str, address: str) -> None:
        """Start a machine."""
        machine = await self._net.join(address)
        listener = machine.inside(lambda: WireListener(address, PORT))
        stack = self._machines[name] = contextlib.AsyncExitStack()
        await stack.enter_async_context(serving(naming(name), listener))

    async def stop(self, name: str) -> None:
        """Stop the server of a machine."""
        await self._machines.pop(name).aclose()

    async def unplug(self, name: str) -> None:
        """Disconnect a machine from the network."""
        await self._net.unplug(ADDRESSES[name])

    async def close(self) -> None:
        for name in list(self._machines):
            await self.stop(name)

    def is_served_by(self, proxy: ProxyProcess) -> None:
        self._proxy = proxy

    async def client(self) -> Reader:
        """Connect to the proxy."""
        wire = Wire(self._home.inside(socket.socket))
        address = ("127.0.0.1", self._proxy.port)
        await soon(asyncio.get_running_loop().sock_connect(wire.sock, address))
        return Reader(wire)


@contextlib.asynccontextmanager
async def cluster(loop_name: str, folder: Path, *flags: str) -> AsyncIterator[Cluster]:
    """Set up the machines of ADDRESSES, the name server, and the proxy."""
    async with network() as net, name_server(net, folder, named(ADDRESSES)) as names:
        home = await net.join("10.99.0.2")
        on = Cluster(net, names, home)
        template = f"--workspace-host={{workspace}}.{DOMAIN}."
        try:
            for name, address in ADDRESSES.items():
                await on.add(name, address)
            within = home.command(*with_name_server(NAME_SERVER, folder))
            async with proxy_process(loop_name, template, *flags, within=within) as proxy:
                on.is_served_by(proxy)
                yield on
                await proxy.stop()
        finally:
            await on.close()


# Requests of clients


async def get(client: Reader, name: str, *fields: str) -> Message:
    """Send a request to a machine over this connection; the body of the response is its name."""
    return await exchange(client, head("GET / HTTP/1.1", "Host: a", *route(name), *fields))


async def exchange(client: Reader, request: bytes) -> Message:
    await soon(client.wire.send(request))
    return await soon(client.response())


def route(name: str) -> list[str]:
    return [f"X-Cmux-Port-Internal: {PORT}", f"X-Cmux-Workspace-Internal: {name}"]


async def connect(on: Cluster, name: str) -> Message:
    """Send a request to a machine through a new tunnel; return the response or the refusal."""
    client = await on.client()
    with client.wire:
        await soon(client.wire.send(head("CONNECT a:1 HTTP/1.1", "Host: a:1", *route(name))))
        established = await soon(client.head())
        assert established is not None
        if established.status != 200:
            await soon(client.body(established))
            return established
        return await exchange(client, head("GET / HTTP/1.1", "Host: a"))


async def upgrade(on: Cluster, name: str) -> bytes:
    """Open a tunnel by upgrade; return what the machine sends in it."""
    client = await on.client()
    with client.wire:
        fields = ["Connection: Upgrade", "Upgrade: websocket", *route(name)]
        await soon(client.wire.send(head("GET / HTTP/1.1", "Host: a", *fields)))
        switched = await soon(client.head())
        assert switched is not None
        assert switched.status == 101
        return await soon(client.take(len(name)))


def is_unknown(message: Message, name: str) -> bool:
    """Return whether a name is unknown; fail on any other error than 502 and 504."""
    assert message.status in (502, 504), (message.head, message.body)
    if message.field("proxy-status") != DNS_ERROR:
        return False
    assert message.status == 502
    return message.body == f"the host of {name}.{DOMAIN}.:{PORT} is not known\n".encode()


async def wait_until_unknown(client: Reader, name: str) -> None:
    """Send requests until a name is unknown; the proxy does not wait for a slow refresh."""
    async with asyncio.timeout(SOON):
        while not is_unknown(await get(client, name), name):
            pass


@contextlib.asynccontextmanager
async def unaffected(on: Cluster, *names: str) -> AsyncIterator[None]:
    """Send plain and tunnelled requests to the machines meanwhile; fail if one fails."""
    is_done = asyncio.Event()
    rounds = 0

    async def keep_requesting() -> None:
        nonlocal rounds
        client = await on.client()
        with client.wire:
            for name in itertools.islice(itertools.cycle(names), MAX_ROUNDS):
                for response in (await get(client, name), await connect(on, name)):
                    assert (response.status, response.body) == (200, name.encode())
                rounds += 1
                if is_done.is_set():
                    return

    async with asyncio.TaskGroup() as group:
        group.create_task(keep_requesting())
        try:
            yield
        finally:
            is_done.set()
    assert rounds >= len(names)


# Tests


async def test_requests_upgrades_and_tunnels_reach_the_machine_of_their_workspace(
    loop_name: str, tmp_path: Path
) -> None:
    async with cluster(loop_name, tmp_path) as on:
        client = await on.client()
        with client.wire:
            for name in (*ADDRESSES, *ADDRESSES):
                assert (await get(client, name)).body == name.encode()
                assert (await connect(on, name)).body == name.encode()
                assert await upgrade(on, name) == name.encode()
            assert (await get(client, "/home/dev/M2")).body == b"m2"


async def test_a_machine_stops_and_returns_with_another_address(
    loop_name: str, tmp_path: Path
) -> None:
    async with cluster(loop_name, tmp_path) as on:
        client = await on.client()
        with client.wire:
            assert (await get(client, "m2")).body == b"m2"
            async with unaffected(on, "m1", "m3"):
                remaining = {name: ADDRESSES[name] for name in ("m1", "m3")}
                await on.names.replace_records(named(remaining))
                await on.stop("m2")
                await wait_until_unknown(client, "m2")
                assert is_unknown(await connect(on, "m2"), "m2")
                await on.add("m2", "10.99.0.22")
                assert is_unknown(await get(client, "m2"), "m2")
                await on.names.replace_records(named({**remaining, "m2": "10.99.0.22"}))
                assert (await get(client, "m2")).body == b"m2"
                assert (await connect(on, "m2")).body == b"m2"


@pytest.mark.slow
async def test_a_changed_address_is_used_although_connections_to_the_old_one_are_in_use(
    loop_name: str, tmp_path: Path
) -> None:
    async with cluster(loop_name, tmp_path) as on:
        client = await on.client()
        with client.wire:
            assert (await get(client, "m2")).body == b"m2"
            async with unaffected(on, "m1"):
                await on.names.replace_records(named({**ADDRESSES, "m2": ADDRESSES["m3"]}))
                async with asyncio.timeout(SOON):
                    while (moved := await get(client, "m2")).body == b"m2":
                        pass
            assert (moved.status, moved.body) == (200, b"m3")
            assert (await get(client, "m2")).body == b"m3"


async def test_a_name_with_an_unreachable_address_is_served_by_the_other(
    loop_name: str, tmp_path: Path
) -> None:
    async with cluster(loop_name, tmp_path) as on:
        for unreachable in ("10.99.0.12", "10.99.0.99"):
            # The first address refuses connections; no machine has the second.
            name = f"m1-{unreachable.rpartition('.')[2]}"
            await on.names.replace_records({f"{name}.{DOMAIN}": [unreachable, ADDRESSES["m1"]]})
            if unreachable == ADDRESSES["m2"]:
                await on.stop("m2")
            for _ in range(4):
                assert (await connect(on, name)).body == b"m1"


async def test_the_search_list_of_the_resolver_is_not_used(loop_name: str, tmp_path: Path) -> None:
    async with cluster(loop_name, tmp_path) as on:
        await on.names.replace_records({f"m1.{DOMAIN}.elsewhere.test": [ADDRESSES["m1"]]})
        assert is_unknown(await connect(on, "m1"), "m1")


@pytest.mark.slow
async def test_a_disconnected_machine_is_unknown_when_its_name_is_removed(
    loop_name: str, tmp_path: Path
) -> None:
    flags = ("--connect-timeout=1s", "--response-timeout=1s")
    async with cluster(loop_name, tmp_path, *flags) as on:
        client = await on.client()
        with client.wire:
            assert (await get(client, "m2")).body == b"m2"
            async with unaffected(on, "m1", "m3"):
                await on.unplug("m2")
                await on.names.replace_records(
                    named({name: ADDRESSES[name] for name in ("m1", "m3")})
                )
                await wait_until_unknown(client, "m2")
                assert is_unknown(await get(client, "m2"), "m2")
                assert is_unknown(await connect(on, "m2"), "m2")


@pytest.mark.slow
async def test_machines_are_reached_while_the_name_server_hangs(
    loop_name: str, tmp_path: Path
) -> None:
    # The resolver tries twice, three seconds each; no connection may wait for that.
    async with cluster(loop_name, tmp_path, "--connect-timeout=3s") as on:
        for name in ADDRESSES:
            assert (await connect(on, name)).body == name.encode()
        async with unaffected(on, *ADDRESSES):
            on.names.freeze()
            for _ in range(3):
                # The proxy's timeout and the resolver's expire at about the same time.
                assert (await connect(on, "m4")).status in (502, 504)
