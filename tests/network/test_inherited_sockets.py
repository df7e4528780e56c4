"""Inherited sockets: passed as systemd does it, or just left open."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.helpers.proxies import is_served, proxy_process
from tests.helpers.script import head
from tests.helpers.timing import soon
from tests.helpers.wire import Wire

one_and_two_workers = pytest.mark.parametrize("workers", ["1", "2"])


@contextmanager
def listening(
    name: tuple[str, int] | str = ("127.0.0.1", 0),
    family: socket.AddressFamily = socket.AF_INET,
) -> Iterator[socket.socket]:
    """Listen, as the program does that passes the socket."""
    with socket.socket(family) as sock:
        sock.bind(name)
        sock.listen(64)
        yield sock


async def serves(sock: socket.socket) -> None:
    name = sock.getsockname()
    is_unix = sock.family == socket.AF_UNIX
    with await (Wire.to_path(name) if is_unix else Wire.to(*name[:2])) as wire:
        await is_served(wire)


@one_and_two_workers
async def test_all_passed_sockets_are_served_instead_of_the_default(
    loop_name: str, workers: str, tmp_path: Path
) -> None:
    path = tmp_path / "given.sock"
    with (
        listening() as first,
        listening(str(path), socket.AF_UNIX) as second,
        listening(("::1", 0), socket.AF_INET6) as third,
    ):
        given = [first, second, third]
        async with proxy_process(loop_name, "--workers", workers, passed=given) as proxy:
            assert proxy.announced[:-1] == [
                f"listening on 127.0.0.1:{first.getsockname()[1]}",
                f"listening on unix:{path}",
                f"listening on [::1]:{third.getsockname()[1]}",
            ]
            for sock in given:
                await serves(sock)
            await proxy.stop()
        # They belong to another program, so they stay open, and the file stays.
        assert path.exists()
        for sock in given:
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)


@one_and_two_workers
@pytest.mark.hosting
async def test_connections_without_a_proxy_wait_for_the_next_one(
    loop_name: str, workers: str
) -> None:
    with listening() as sock:
        for _ in range(2):
            with ExitStack() as stack:
                waiting = [stack.enter_context(await Wire.to(*sock.getsockname())) for _ in "1234"]
                async with proxy_process(loop_name, "--workers", workers, passed=[sock]) as proxy:
                    for wire in waiting:
                        await is_served(wire)
                    await proxy.stop()


@one_and_two_workers
async def test_inherited_sockets_are_never_a_target(loop_name: str, workers: str) -> None:
    with listening() as one, listening(("0.0.0.0", 0)) as other:
        flags = ("--workers", workers, "--deny-port", "1")
        async with proxy_process(loop_name, *flags, passed=[one, other]) as proxy:
            for target in (one, other):
                with await Wire.to(*one.getsockname()) as wire:
                    route = f"X-Cmux-Port-Internal: {target.getsockname()[1]}"
                    await wire.send(head("GET / HTTP/1.1", "Host: a", route))
                    assert (await soon(wire.receive())).startswith(b"HTTP/1.1 508 ")
            await proxy.stop()


@pytest.mark.parametrize(("only_v6", "status"), [(True, b"502"), (False, b"508")])
async def test_the_socket_option_decides_whether_an_ipv6_wildcard_covers_ipv4(
    loop_name: str, only_v6: bool, status: bytes
) -> None:
    with socket.socket(socket.AF_INET6) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only_v6)
        sock.bind(("::", 0))
        sock.listen()
        port = sock.getsockname()[1]
        flags = ("--deny-port", "1", "--upstream-host", "127.0.0.1")
        async with proxy_process(loop_name, *flags, passed=[sock]) as proxy:
            with await Wire.to("::1", port) as wire:
                await wire.send(head("GET / HTTP/1.1", "Host: a", f"X-Cmux-Port-Internal: {port}"))
                assert (await soon(wire.receive())).startswith(b"HTTP/1.1 " + status)
            await proxy.stop()


async def test_sockets_that_listen_does_not_name_are_logged(loop_name: str) -> None:
    with listening() as one, listening() as other:
        flags = ("--listen", "fd://4,127.0.0.1:0")
        async with proxy_process(loop_name, *flags, passed=[one, other]) as proxy:
            assert proxy.addresses[0].port == other.getsockname()[1]
            assert len(proxy.addresses) == 2
            await serves(other)
            line = "cmux-proxy: WARNING: an inherited socket is not in --listen: fd://3"
            assert await proxy.error_line() == line
            await proxy.stop()


async def test_a_socket_that_was_left_open_may_be_named(loop_name: str) -> None:
    with listening() as sock:
        within = ("env", "-u", "LISTEN_FDS", "-u", "LISTEN_PID")
        flags = ("--listen", "fd://3")
        async with proxy_process(loop_name, *flags, passed=[sock], within=within) as proxy:
            await serves(sock)
            await proxy.stop()


async def test_sockets_for_another_process_are_not_used(loop_name: str) -> None:
    with listening() as sock:
        within = ("env", "LISTEN_PID=1", "CMUX_LISTEN=127.0.0.1:0")
        async with proxy_process(loop_name, passed=[sock], within=within) as proxy:
            assert proxy.port != sock.getsockname()[1]
            await proxy.stop()


async def test_many_clients_are_served_by_workers_that_share_one_socket(loop_name: str) -> None:
    with listening() as sock:
        async with proxy_process(loop_name, "--workers", "2", passed=[sock]) as proxy:
            with ExitStack() as stack:
                wires = [stack.enter_context(await Wire.to(*sock.getsockname())) for _ in range(60)]
                async with asyncio.TaskGroup() as group:
                    for wire in wires:
                        group.create_task(is_served(wire))
            await proxy.stop()
