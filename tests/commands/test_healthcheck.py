"""cmux-proxy healthcheck, as a program beside proxies of all kinds and what is none."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from cmux_proxy import Access, Proxy
from cmux_proxy.commands.healthcheck import addresses_to_check
from tests.helpers.machines import network
from tests.helpers.origins import OriginConnection, origin
from tests.helpers.proxies import MODULE, environment, local_config, proxy_process
from tests.helpers.script import head
from tests.helpers.timing import MS
from tests.helpers.tools import finish
from tests.helpers.wire import closed_port


async def check(*flags: str, listen: str = "") -> tuple[int, str]:
    """Run the command; return its status and what it complains about."""
    variables = environment(CMUX_LISTEN=listen)
    done = await finish(*MODULE, "healthcheck", *flags, variables=variables)
    assert done.out == b""
    return done.status, done.errors.decode()


def complaint(address: str, problem: str) -> tuple[int, str]:
    return 1, f"cmux-proxy: error: {address} is not healthy: {problem}\n"


@pytest.mark.parametrize(
    "access",
    [Access(), Access(tokens=["t"]), Access(allow_clients=["::2"]), Access(allow_hosts=["a"])],
    ids=["open", "token", "clients", "hosts"],
)
async def test_a_proxy_that_responds_is_healthy_with_any_status(access: Access) -> None:
    async with Proxy(local_config(access=access)) as proxy:
        assert await check(f"--listen={proxy.addresses[0]}") == (0, "")


async def test_all_addresses_of_the_proxy_are_checked(tmp_path: Path) -> None:
    listen = ["127.0.0.1:0", "[::1]:0", f"unix:{tmp_path}/s"]
    async with Proxy(local_config(listen=listen)) as proxy:
        addresses = list(map(str, proxy.addresses))
        assert await check(listen=",".join(addresses)) == (0, "")
        with closed_port() as port:
            status, text = await check(
                "--listen", ",".join(addresses), f"--listen=127.0.0.1:{port}"
            )
            assert (status, text) == complaint(f"127.0.0.1:{port}", "Connection refused")


def test_an_address_is_checked_once() -> None:
    texts = ["0.0.0.0:80", "127.0.0.1:80", "[::]:80", "[::1]:81", "unix:/s"]
    addresses = ["127.0.0.1:80", "[::1]:80", "[::1]:81", "unix:/s"]
    assert [str(address) for address in addresses_to_check(texts)] == addresses


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]"])
async def test_a_wildcard_is_checked_on_the_loopback(host: str) -> None:
    access = Access(tokens=["t"])
    async with Proxy(local_config(listen=[f"{host}:0"], access=access)) as proxy:
        assert await check(listen=str(proxy.addresses[0])) == (0, "")


async def test_the_addresses_in_the_file_of_the_proxy_are_checked(tmp_path: Path) -> None:
    file = tmp_path / "proxy.toml"
    async with Proxy(local_config()) as proxy:
        file.write_text(f'listen = ["{proxy.addresses[0]}"]')
        variables = environment(CMUX_CONFIG=str(file))
        done = await finish(*MODULE, "healthcheck", variables=variables)
        assert (done.status, done.errors) == (0, b"")


async def test_a_missing_socket_file_is_not_healthy(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/s"
    assert await check(listen=address) == complaint(address, "No such file or directory")


@pytest.mark.parametrize(
    ("response", "problem"),
    [
        (head("HTTP/1.1 200 OK", "Content-Length: 0"), "another server has responded"),
        (head("HTTP/1.1 400 No", "Proxy-Status: other; error=x"), "another server has responded"),
        (head("HTTP/1.1 503 Busy", "Proxy-Status: cmux-proxy; error=x"), "the response is a 503"),
        (b"SSH-2.0-x\r\n", "the response is not HTTP"),
        (b"", "Remote end closed connection without response"),
    ],
)
async def test_another_response_is_not_healthy(response: bytes, problem: str) -> None:
    async def behave(connection: OriginConnection) -> None:
        await connection.head()
        await connection.send(response)

    async with origin(behave) as other:
        address = f"127.0.0.1:{other.port}"
        assert await check(listen=address) == complaint(address, problem)
        [request] = other.requests
        # There is no path in it that could be a service's, and no port.
        assert (request.method, request.target) == ("OPTIONS", "*")
        assert not request.field("x-cmux-port-internal")


async def test_a_missing_response_is_a_timeout() -> None:
    async def behave(connection: OriginConnection) -> None:
        await connection.head()
        await asyncio.Event().wait()

    async with origin(behave) as other:
        address = f"127.0.0.1:{other.port}"
        assert await check("--timeout=50ms", listen=address) == complaint(address, "timed out")


@pytest.mark.parametrize("listen", ["fd://3", "127.0.0.1:0", "127.0.0.1:1,[::]:0"])
async def test_a_descriptor_or_port_0_cannot_be_checked(listen: str) -> None:
    status, text = await check(listen=listen)
    entry = listen.rpartition(",")[2]
    assert status == 2
    assert text == (
        f"cmux-proxy: error: Invalid value for --listen: {entry!r} is not an address to connect "
        "to\n"
    )


@pytest.mark.parametrize("flags", [["--timeout=0"], ["--timeout=off"], ["--listen=8080"]])
async def test_a_bad_flag_is_2(flags: list[Any]) -> None:
    assert (await check(*flags))[0] == 2


@pytest.mark.parametrize("data", [b"X", head("HTTP/1.1 100 Continue")], ids=["bytes", "interim"])
async def test_an_endless_response_is_a_timeout(data: bytes) -> None:
    async def behave(connection: OriginConnection) -> None:
        await connection.head()
        while True:
            await connection.send(data)
            # Slowly enough that no limit is met in time, and never so slowly that it is silent.
            await asyncio.sleep(5 * MS)

    async with origin(behave) as other:
        address = f"127.0.0.1:{other.port}"
        status, text = await check("--timeout=100ms", listen=address)
        assert (status, text.count("\n")) == (1, 1)


async def test_a_link_local_address_is_checked_on_its_interface(loop_name: str) -> None:
    async with network() as net:
        inside = net.switch.command()
        await net.switch.set_up("addr add fe80::7/64 dev lo nodad")
        flags = ("--listen", "[fe80::7%lo]:0")
        async with proxy_process(loop_name, *flags, within=inside) as proxy:
            address = str(proxy.addresses[0])
            assert address.startswith("[fe80::7%lo]:")
            done = await finish(
                *inside, *MODULE, "healthcheck", "--listen", address, variables=environment()
            )
            assert (done.status, done.errors) == (0, b"")
            url = f"http://{address.replace('%', '%25')}"
            doctor = await finish(*inside, *MODULE, "doctor", "--proxy", url)
            assert doctor.out.startswith(f"ok       proxy      {url} is a cmux-proxy\n".encode())
            proxy.signal()
            assert (await proxy.ended())[0] == 0
