"""Sockets that listened before the proxy did: passed as systemd passes them, or just left open."""

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

both = pytest.mark.parametrize("workers", ["1", "2"])


@contextmanager
def listening(
    place: tuple[str, int] | str = ("127.0.0.1", 0),
    family: socket.AddressFamily = socket.AF_INET,
) -> Iterator[socket.socket]:
    """Listen, as whoever passes the socket does."""
    with socket.socket(family) as sock:
        sock.bind(place)
        sock.listen(64)
        yield sock


async def serves(sock: socket.socket) -> None:
    name = sock.getsockname()
    is_unix = sock.family == socket.AF_UNIX
    with await (Wire.to_path(name) if is_unix else Wire.to(*name[:2])) as wire:
        await is_served(wire)


@both
async def test_all_that_were_passed_are_served_in_place_of_the_default(
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
        # They are not the proxy's, so they go on, and so does the file.
        assert path.exists()
        for sock in given:
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)


@both
async def test_who_connects_while_no_proxy_is_there_waits_for_the_next(
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


@both
async def test_they_are_never_a_target(loop_name: str, workers: str) -> None:
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
async def test_a_wildcard_of_ipv6_is_a_target_or_not_as_the_socket_says(
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


async def test_one_may_be_named_and_the_rest_is_told(loop_name: str) -> None:
    with listening() as one, listening() as other:
        flags = ("--listen", "fd://4,127.0.0.1:0")
        async with proxy_process(loop_name, *flags, passed=[one, other]) as proxy:
            assert proxy.addresses[0].port == other.getsockname()[1]
            assert len(proxy.addresses) == 2
            await serves(other)
            line = "cmux-proxy: WARNING: a socket was passed that --listen does not name: fd://3"
            assert await proxy.complaint() == line
            await proxy.stop()


async def test_one_that_was_just_left_open_may_be_named(loop_name: str) -> None:
    with listening() as sock:
        within = ("env", "-u", "LISTEN_FDS", "-u", "LISTEN_PID")
        flags = ("--listen", "fd://3")
        async with proxy_process(loop_name, *flags, passed=[sock], within=within) as proxy:
            await serves(sock)
            await proxy.stop()


async def test_those_of_another_process_are_not_taken(loop_name: str) -> None:
    with listening() as sock:
        within = ("env", "LISTEN_PID=1", "CMUX_LISTEN=127.0.0.1:0")
        async with proxy_process(loop_name, passed=[sock], within=within) as proxy:
            assert proxy.port != sock.getsockname()[1]
            await proxy.stop()


async def test_many_at_once_are_served_by_workers_that_have_one_socket(loop_name: str) -> None:
    with listening() as sock:
        async with proxy_process(loop_name, "--workers", "2", passed=[sock]) as proxy:
            with ExitStack() as stack:
                wires = [stack.enter_context(await Wire.to(*sock.getsockname())) for _ in range(60)]
                async with asyncio.TaskGroup() as group:
                    for wire in wires:
                        group.create_task(is_served(wire))
            await proxy.stop()
