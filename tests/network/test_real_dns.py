"""A small cluster: three machines in namespaces of their own, dnsmasq, and the proxy among them.

Every machine listens on the same port and says which one it is; the proxy finds them by
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
MOST_ROUNDS: Final = 20_000
DNS_ERROR: Final = "cmux-proxy; error=dns_error"


def telling(name: str) -> Behaviour:
    """Say which machine this is: in answers, and first of all in a tunnel."""

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

    async def has(self, name: str, address: str) -> None:
        """Let a machine come."""
        machine = await self._net.join(address)
        listener = machine.inside(lambda: WireListener(address, PORT))
        stack = self._machines[name] = contextlib.AsyncExitStack()
        await stack.enter_async_context(serving(telling(name), listener))

    async def loses(self, name: str) -> None:
        """End a machine's server."""
        await self._machines.pop(name).aclose()

    async def unplug(self, name: str) -> None:
        """Have nobody hear of a machine any more."""
        await self._net.unplug(ADDRESSES[name])

    async def close(self) -> None:
        for name in list(self._machines):
            await self.loses(name)

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
                await on.has(name, address)
            within = home.command(*with_name_server(NAME_SERVER, folder))
            async with proxy_process(loop_name, template, *flags, within=within) as proxy:
                on.is_served_by(proxy)
                yield on
                await proxy.stop()
        finally:
            await on.close()


# What clients ask


async def get(client: Reader, name: str, *fields: str) -> Message:
    """Ask a machine over a connection that may have been used before; the body is its name."""
    return await ask(client, head("GET / HTTP/1.1", "Host: a", *route(name), *fields))


async def ask(client: Reader, request: bytes) -> Message:
    await soon(client.wire.send(request))
    return await soon(client.response())


def route(name: str) -> list[str]:
    return [f"X-Cmux-Port-Internal: {PORT}", f"X-Cmux-Workspace-Internal: {name}"]


async def connect(on: Cluster, name: str) -> Message:
    """Ask a machine through a tunnel, for which the proxy has to dial; or return its refusal."""
    client = await on.client()
    with client.wire:
        await soon(client.wire.send(head("CONNECT a:1 HTTP/1.1", "Host: a:1", *route(name))))
        established = await soon(client.head())
        assert established is not None
        if established.status != 200:
            await soon(client.body(established))
            return established
        return await ask(client, head("GET / HTTP/1.1", "Host: a"))


async def upgrade(on: Cluster, name: str) -> bytes:
    """Return how a machine greets in the tunnel that an upgrade opens."""
    client = await on.client()
    with client.wire:
        fields = ["Connection: Upgrade", "Upgrade: websocket", *route(name)]
        await soon(client.wire.send(head("GET / HTTP/1.1", "Host: a", *fields)))
        switched = await soon(client.head())
        assert switched is not None
        assert switched.status == 101
        return await soon(client.take(len(name)))


def is_unknown(message: Message, name: str) -> bool:
    """Return whether a name is not known; fail if something else than that went wrong."""
    assert message.status in (502, 504), (message.head, message.body)
    if message.field("proxy-status") != DNS_ERROR:
        return False
    assert message.status == 502
    return message.body == f"the host of {name}.{DOMAIN}.:{PORT} is not known\n".encode()


async def becomes_unknown(client: Reader, name: str) -> None:
    """Ask until a name is not known; a look-up that takes long is not waited for by the proxy."""
    async with asyncio.timeout(SOON):
        while not is_unknown(await get(client, name), name):
            pass


@contextlib.asynccontextmanager
async def undisturbed(on: Cluster, *names: str) -> AsyncIterator[None]:
    """Ask machines all the while, in two ways; fail if one request fails."""
    is_over = asyncio.Event()
    rounds = 0

    async def ask_on() -> None:
        nonlocal rounds
        client = await on.client()
        with client.wire:
            for name in itertools.islice(itertools.cycle(names), MOST_ROUNDS):
                for answered in (await get(client, name), await connect(on, name)):
                    assert (answered.status, answered.body) == (200, name.encode())
                rounds += 1
                if is_over.is_set():
                    return

    async with asyncio.TaskGroup() as group:
        group.create_task(ask_on())
        try:
            yield
        finally:
            is_over.set()
    assert rounds >= len(names)


# The tests


async def test_every_kind_of_request_reaches_the_machine_of_its_workspace(
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


async def test_a_machine_leaves_and_comes_back_under_another_address(
    loop_name: str, tmp_path: Path
) -> None:
    async with cluster(loop_name, tmp_path) as on:
        client = await on.client()
        with client.wire:
            assert (await get(client, "m2")).body == b"m2"
            async with undisturbed(on, "m1", "m3"):
                left = {name: ADDRESSES[name] for name in ("m1", "m3")}
                await on.names.replace_records(named(left))
                await on.loses("m2")
                await becomes_unknown(client, "m2")
                assert is_unknown(await connect(on, "m2"), "m2")
                await on.has("m2", "10.99.0.22")
                assert is_unknown(await get(client, "m2"), "m2")
                await on.names.replace_records(named({**left, "m2": "10.99.0.22"}))
                assert (await get(client, "m2")).body == b"m2"
                assert (await connect(on, "m2")).body == b"m2"


@pytest.mark.slow
async def test_a_name_that_moves_is_followed_though_connections_to_where_it_was_are_in_use(
    loop_name: str, tmp_path: Path
) -> None:
    async with cluster(loop_name, tmp_path) as on:
        client = await on.client()
        with client.wire:
            assert (await get(client, "m2")).body == b"m2"
            async with undisturbed(on, "m1"):
                await on.names.replace_records(named({**ADDRESSES, "m2": ADDRESSES["m3"]}))
                async with asyncio.timeout(SOON):
                    while (moved := await get(client, "m2")).body == b"m2":
                        pass
            assert (moved.status, moved.body) == (200, b"m3")
            assert (await get(client, "m2")).body == b"m3"


async def test_a_name_with_a_dead_address_is_served_by_the_other(
    loop_name: str, tmp_path: Path
) -> None:
    async with cluster(loop_name, tmp_path) as on:
        for dead in ("10.99.0.12", "10.99.0.99"):
            # The first one refuses; nobody has the second.
            name = f"m1-{dead.rpartition('.')[2]}"
            await on.names.replace_records({f"{name}.{DOMAIN}": [dead, ADDRESSES["m1"]]})
            if dead == ADDRESSES["m2"]:
                await on.loses("m2")
            for _ in range(4):
                assert (await connect(on, name)).body == b"m1"


async def test_the_resolvers_search_list_adds_no_machines(loop_name: str, tmp_path: Path) -> None:
    async with cluster(loop_name, tmp_path) as on:
        await on.names.replace_records({f"m1.{DOMAIN}.elsewhere.test": [ADDRESSES["m1"]]})
        assert is_unknown(await connect(on, "m1"), "m1")


@pytest.mark.slow
async def test_a_machine_that_is_cut_off_is_unknown_once_its_name_is(
    loop_name: str, tmp_path: Path
) -> None:
    flags = ("--connect-timeout=1s", "--response-timeout=1s")
    async with cluster(loop_name, tmp_path, *flags) as on:
        client = await on.client()
        with client.wire:
            assert (await get(client, "m2")).body == b"m2"
            async with undisturbed(on, "m1", "m3"):
                await on.unplug("m2")
                await on.names.replace_records(
                    named({name: ADDRESSES[name] for name in ("m1", "m3")})
                )
                await becomes_unknown(client, "m2")
                assert is_unknown(await get(client, "m2"), "m2")
                assert is_unknown(await connect(on, "m2"), "m2")


@pytest.mark.slow
async def test_machines_are_reached_while_the_name_server_does_not_answer(
    loop_name: str, tmp_path: Path
) -> None:
    # The resolver tries twice, for three seconds each; no connection may have to wait for that.
    async with cluster(loop_name, tmp_path, "--connect-timeout=3s") as on:
        for name in ADDRESSES:
            assert (await connect(on, name)).body == name.encode()
        async with undisturbed(on, *ADDRESSES):
            on.names.freeze()
            for _ in range(3):
                # Whichever comes first, our deadline or the resolver's.
                assert (await connect(on, "m4")).status in (502, 504)
