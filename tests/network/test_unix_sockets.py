"""Clients on a Unix socket: served like all others, and their identity."""

import asyncio
import os
import signal
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from cmux_proxy import Access, Limits, Rewriting
from tests.helpers.proxies import MODULE, environment, is_served, local_config, proxy_process
from tests.helpers.script import Stage, get, head, stage
from tests.helpers.timing import soon
from tests.helpers.tools import finish
from tests.helpers.wire import Wire

OK = head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"
LARGE = b"".join(b"%08d" % number for number in range(1_000_001))


@asynccontextmanager
async def unix_stage(folder: Path, **options: Any) -> AsyncIterator[Stage]:
    """Set up a proxy that listens at a path, and an upstream."""
    config = local_config(listen=[f"unix:{folder}/s"], **options)
    async with stage(config) as on:
        yield on


# Served like all others


async def test_requests_share_a_connection(tmp_path: Path) -> None:
    async with unix_stage(tmp_path) as on:
        client, upstream = await on.pair()
        for _ in range(2):
            await upstream.says(OK)
            await client.gets(OK)
            await client.says(get("/again"))
            await upstream.gets(head("GET /again HTTP/1.1", "Host: a"))
        await upstream.says(OK)
        await client.gets(OK)


async def test_an_error_is_received_completely_before_the_end(tmp_path: Path) -> None:
    async with unix_stage(tmp_path) as on:
        client = await on.client()
        await client.says(head("GET / HTTP/1.1", "Host: a", "a b: c") + b"x" * 100_000)
        await client.gets_error(400, "http_request_error", closes=True)


async def test_a_tunnel_keeps_half_closes_apart(tmp_path: Path) -> None:
    async with unix_stage(tmp_path) as on:
        client, upstream = await on.tunnel()
        await client.says(b"ping")
        await upstream.gets(b"ping")
        client.ends()
        await upstream.gets_end()
        await upstream.says(b"pong")
        await client.gets(b"pong")
        upstream.ends()
        await client.gets_end()


@pytest.mark.parametrize("up", [True, False], ids=["up", "down"])
async def test_a_large_message_passes_through_a_websocket(tmp_path: Path, up: bool) -> None:
    async with unix_stage(tmp_path) as on:
        client, upstream = await on.websocket()
        sender, receiver = (client, upstream) if up else (upstream, client)
        sending = asyncio.get_running_loop().create_task(sender.wire.send(LARGE))
        assert await receiver.gets_bytes(len(LARGE)) == LARGE
        await sending


async def test_an_aborted_response_is_not_complete(tmp_path: Path) -> None:
    async with unix_stage(tmp_path) as on:
        client, upstream = await on.pair()
        await upstream.says(head("HTTP/1.1 200 OK", "Content-Length: 5") + b"ab")
        await client.gets(head("HTTP/1.1 200 OK", "Content-Length: 5") + b"ab")
        upstream.resets()
        assert await client.gets_cut() == b""


async def test_a_client_that_disconnects_closes_its_upstream_connection(tmp_path: Path) -> None:
    async with unix_stage(tmp_path) as on:
        client, upstream = await on.pair()
        client.closes()
        assert await upstream.gets_cut() == b""


async def test_a_drain_finishes_pending_requests(tmp_path: Path) -> None:
    async with unix_stage(tmp_path) as on:
        client, upstream = await on.pair()
        waiting = await on.client()
        drain = asyncio.get_running_loop().create_task(on.proxy.drain(3600))
        await waiting.gets_end()
        with pytest.raises(FileNotFoundError):
            await on.client()
        await upstream.says(OK)
        await client.gets(head("HTTP/1.1 200 OK", "Content-Length: 2", "Connection: close") + b"ok")
        await client.gets_end()
        await soon(drain)


# Their identity


async def test_a_list_of_clients_has_to_name_unix_sockets(tmp_path: Path) -> None:
    access = Access(allow_clients=["0.0.0.0/0", "::/0"])
    async with unix_stage(tmp_path, access=access) as on:
        client = await on.client()
        await client.gets_error(403, "http_request_denied", closes=True)


@pytest.mark.parametrize("has_name", [False, True])
async def test_the_name_of_a_clients_socket_is_ignored(tmp_path: Path, has_name: bool) -> None:
    name = str(tmp_path / "127.0.0.1") if has_name else ""
    options: dict[str, Any] = {
        "access": Access(allow_clients=["unix:"]),
        "limits": Limits(clients_per_address=1),
        "rewriting": Rewriting(forwarded="append", forwarded_rfc7239=True),
    }
    async with unix_stage(tmp_path, **options) as on:
        await on.serves()
        with await Wire.to_path(on.address.path), await Wire.to_path(on.address.path, name) as wire:
            await wire.send(get().replace(b"<port>", str(on.port).encode()))
            upstream = await on.upstream()
            await upstream.gets(
                head(
                    "GET / HTTP/1.1", "Host: a", "X-Forwarded-For: unknown", "X-Forwarded-Host: a",
                    "X-Forwarded-Proto: http", 'Forwarded: for=unknown;host="a";proto=http',
                )
            )  # fmt: skip


async def test_fields_of_a_trusted_client_are_kept(tmp_path: Path) -> None:
    rules = Rewriting(forwarded="append", trusted_proxies=["unix:"])
    async with unix_stage(tmp_path, rewriting=rules) as on:
        given = ("X-Forwarded-Host: web.dev", "X-Forwarded-Proto: https")
        _client, upstream = await on.pair(get("/", "X-Forwarded-For: 192.0.2.1", *given))
        extended = "X-Forwarded-For: 192.0.2.1, unknown"
        await upstream.gets(head("GET / HTTP/1.1", "Host: a", *given, extended))


# As a process


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_process_serves_at_its_path_and_removes_it(
    loop_name: str, workers: str, tmp_path: Path
) -> None:
    path = tmp_path / "proxy.sock"
    flags = ("--workers", workers, "--unix-mode", "606", "--listen", f"unix:{path},127.0.0.1:0")
    async with proxy_process(loop_name, *flags) as proxy:
        assert proxy.announced[0] == f"listening on unix:{path}"
        assert stat.S_IMODE(path.lstat().st_mode) == 0o606
        for _ in range(8):
            with await Wire.to_path(str(path)) as client:
                await is_served(client)
        await proxy.stop()
        assert not path.exists()


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize(
    ("flags", "mode"),
    [((), 0o600), (("--unix-mode", "666"), 0o600), (("--admin-unix-mode", "660"), 0o660)],
)
async def test_only_this_user_may_connect_to_the_admin_socket_by_default(
    loop_name: str, workers: str, flags: tuple[str, ...], mode: int, tmp_path: Path
) -> None:
    path, admin = tmp_path / "proxy.sock", tmp_path / "admin.sock"
    listen = ("--listen", f"unix:{path}", "--admin", f"unix:{admin}", "--workers", workers)
    within = ("sh", "-c", 'umask 0; exec "$@"', "sh")
    async with proxy_process(loop_name, *listen, *flags, within=within) as proxy:
        assert stat.S_IMODE(admin.lstat().st_mode) == mode
        assert stat.S_IMODE(path.lstat().st_mode) == (0o666 if "666" in flags else 0o777)
        await proxy.stop()


async def test_the_path_stays_when_one_worker_ends(loop_name: str, tmp_path: Path) -> None:
    path = tmp_path / "proxy.sock"
    flags = ("--workers", "2", "--listen", f"unix:{path}")
    async with proxy_process(loop_name, *flags) as proxy:
        os.kill(proxy.workers()[0], signal.SIGTERM)
        assert "ended with status 0" in await proxy.error_line()
        with await Wire.to_path(str(path)) as client:
            await is_served(client)
        await proxy.stop()
        assert not path.exists()


async def test_a_killed_process_leaves_a_file_that_the_next_one_replaces(
    loop_name: str, tmp_path: Path
) -> None:
    path = tmp_path / "proxy.sock"
    flags = ("--listen", f"unix:{path}")
    async with proxy_process(loop_name, *flags) as proxy:
        proxy.kill()
        await proxy.status()
        assert path.exists()
    async with proxy_process(loop_name, *flags) as proxy:
        with await Wire.to_path(str(path)) as client:
            await is_served(client)
        await proxy.stop()


async def test_a_path_at_which_another_proxy_listens_is_in_use(
    loop_name: str, tmp_path: Path
) -> None:
    listen = f"unix:{tmp_path}/proxy.sock"
    async with proxy_process(loop_name, "--listen", listen) as proxy:
        done = await finish(*MODULE, "--listen", listen, variables=environment())
        reason = "another program listens there"
        assert done.errors.decode() == f"cmux-proxy: error: cannot listen on {listen}: {reason}\n"
        assert done.status == 1
        with await Wire.to_path(f"{tmp_path}/proxy.sock") as client:
            await is_served(client)
        await proxy.stop()


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_the_socket_of_another_program_at_the_path_stays(
    loop_name: str, workers: str, tmp_path: Path
) -> None:
    path = tmp_path / "proxy.sock"
    flags = ("--workers", workers, "--listen", f"unix:{path}")
    async with proxy_process(loop_name, *flags) as proxy:
        path.unlink()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
            await proxy.stop()
            assert path.exists()
