"""Link-local addresses of IPv6, which are good on one interface: listened on, connected to."""

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
    """Have a machine of the test's own, whose loopback has a link-local address."""
    try:
        one = Namespace()
    except PermissionError:
        missing("network namespaces take root")
    with contextlib.closing(one):
        await one.set_up("link set lo up", "addr add fe80::1/64 dev lo nodad")
        yield one


def connect(space: Namespace, host: str, port: int) -> Wire:
    sock = space.inside(lambda: socket.create_connection((host, port)))
    sock.setblocking(False)
    return Wire(sock)


def to_host(proxy: ProxyProcess) -> str:
    return proxy.addresses[0].host


@pytest.mark.parametrize("zone", ["lo", "1"])
@pytest.mark.parametrize("workers", ["1", "2"])
async def test_it_listens_on_one_with_its_zone(loop_name: str, workers: str, zone: str) -> None:
    async with machine() as space:
        flags = ("--listen", f"[fe80::1%{zone}]:0", "--workers", workers, "--deny-port", "1")
        async with proxy_process(loop_name, *flags, within=space.command()) as proxy:
            assert to_host(proxy) == HOST
            with connect(space, HOST, proxy.port) as wire:
                await is_served(wire)
            await proxy.stop()


@pytest.mark.parametrize("listen", ["[fe80::1%lo]:0", "[::]:0"])
async def test_it_is_never_its_own_upstream_there(loop_name: str, listen: str) -> None:
    async with machine() as space:
        flags = ("--listen", listen, "--upstream-host", HOST, "--deny-port", "1")
        async with proxy_process(loop_name, *flags, within=space.command()) as proxy:
            with connect(space, HOST, proxy.port) as wire:
                route = f"X-Cmux-Port-Internal: {proxy.port}"
                await wire.send(head("GET / HTTP/1.1", "Host: a", route))
                assert (await later(wire.receive())).startswith(b"HTTP/1.1 508 ")
            await proxy.stop()


async def test_it_connects_to_one_with_its_zone(loop_name: str) -> None:
    async with machine() as space:
        listener = space.inside(lambda: WireListener(HOST))
        flags = ("--listen", "127.0.0.1:0", "--upstream-host", HOST)
        async with proxy_process(loop_name, *flags, within=space.command()) as proxy:
            with connect(space, "127.0.0.1", proxy.port) as wire:
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
async def test_one_without_a_zone_is_a_line_that_says_so(flag: str, value: str) -> None:
    status, out, errors = await run_command(flag, value)
    assert (status, out) == (2, "")
    assert re.fullmatch(
        rf"cmux-proxy: error: Invalid value for '{flag}'(?: \(env var: 'CMUX_LISTEN'\))?: "
        r"fe80::1 is link-local and needs its interface, as in fe80::1%eth0\n", errors,
    )  # fmt: skip


async def test_an_interface_that_is_not_there_is_a_line_too() -> None:
    assert await run_command("--listen", "[fe80::1%nowhere]:0") == (
        1,
        "",
        "cmux-proxy: error: cannot listen on [fe80::1%nowhere]:0: there is no such network "
        "interface; `ip link` lists them\n",
    )
