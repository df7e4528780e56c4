"""Link-local IPv6 addresses with a zone: listening on them and connecting to them."""

import contextlib
import re
import socket
from collections.abc import AsyncIterator

import pytest

from tests.helpers.machines import Namespace
from tests.helpers.proxies import ProxyProcess, is_served, proxy_process
from tests.helpers.script import head
from tests.helpers.timing import later, soon
from tests.helpers.tools import missing
from tests.helpers.wire import Wire, WireListener
from tests.network.test_listening import run_command

HOST = "fe80::1%lo"


@contextlib.asynccontextmanager
async def machine() -> AsyncIterator[Namespace]:
    """Create a network namespace whose loopback has a link-local address."""
    try:
        namespace = Namespace()
    except PermissionError:
        missing("network namespaces need root")
    with contextlib.closing(namespace):
        await namespace.set_up("link set lo up", "addr add fe80::1/64 dev lo nodad")
        yield namespace


def connect(namespace: Namespace, host: str, port: int) -> Wire:
    sock = namespace.inside(lambda: socket.create_connection((host, port)))
    sock.setblocking(False)
    return Wire(sock)


def to_host(proxy: ProxyProcess) -> str:
    return proxy.addresses[0].host


@pytest.mark.parametrize("zone", ["lo", "1"])
@pytest.mark.parametrize("workers", ["1", "2"])
async def test_it_listens_on_a_link_local_address(loop_name: str, workers: str, zone: str) -> None:
    async with machine() as namespace:
        flags = ("--listen", f"[fe80::1%{zone}]:0", "--workers", workers, "--deny-port", "1")
        async with proxy_process(loop_name, *flags, within=namespace.command()) as proxy:
            assert to_host(proxy) == HOST
            with connect(namespace, HOST, proxy.port) as wire:
                await is_served(wire)
            await proxy.stop()


@pytest.mark.parametrize("listen", ["[fe80::1%lo]:0", "[::]:0"])
async def test_its_own_link_local_address_is_a_loop(loop_name: str, listen: str) -> None:
    async with machine() as namespace:
        flags = ("--listen", listen, "--upstream-host", HOST, "--deny-port", "1")
        async with proxy_process(loop_name, *flags, within=namespace.command()) as proxy:
            with connect(namespace, HOST, proxy.port) as wire:
                route = f"X-Cmux-Port-Internal: {proxy.port}"
                await wire.send(head("GET / HTTP/1.1", "Host: a", route))
                assert (await later(wire.receive())).startswith(b"HTTP/1.1 508 ")
            await proxy.stop()


async def test_it_connects_to_a_link_local_address(loop_name: str) -> None:
    async with machine() as namespace:
        listener = namespace.inside(lambda: WireListener(HOST))
        flags = ("--listen", "127.0.0.1:0", "--upstream-host", HOST)
        async with proxy_process(loop_name, *flags, within=namespace.command()) as proxy:
            with connect(namespace, "127.0.0.1", proxy.port) as wire:
                route = f"X-Cmux-Port-Internal: {listener.port}"
                await wire.send(head("GET / HTTP/1.1", "Host: a", route))
                with await soon(listener.accept()) as upstream:
                    assert await soon(upstream.receive()) == head("GET / HTTP/1.1", "Host: a")
                    await upstream.send(head("HTTP/1.1 204 No Content"))
                    assert await soon(wire.receive()) == head("HTTP/1.1 204 No Content")
                listener.close()
            await proxy.stop()


@pytest.mark.parametrize(
    ("flag", "value"), [("--listen", "[fe80::1]:0"), ("--upstream-host", "fe80::1")]
)
async def test_a_link_local_address_without_a_zone_is_an_error(flag: str, value: str) -> None:
    status, out, errors = await run_command(flag, value)
    assert (status, out) == (2, "")
    assert re.fullmatch(
        rf"cmux-proxy: error: Invalid value for '{flag}'(?: \(env var: 'CMUX_LISTEN'\))?: "
        r"fe80::1 is link-local and needs its interface, as in fe80::1%eth0\n", errors,
    )  # fmt: skip


async def test_an_unknown_interface_is_an_error() -> None:
    assert await run_command("--listen", "[fe80::1%nowhere]:0") == (
        1,
        "",
        "cmux-proxy: error: cannot listen on [fe80::1%nowhere]:0: there is no such network "
        "interface; `ip link` lists them\n",
    )
