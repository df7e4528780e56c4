"""cmux-proxy connect, as a program between a pipe and a tunnel."""

import asyncio
import contextlib
import os
import pty
import select
import shlex
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cmux_proxy import Access
from cmux_proxy.commands.connect import TIMED_OUT
from tests.helpers.http_proxies import http_proxy
from tests.helpers.machines import network
from tests.helpers.proxies import MODULE, environment, local_config
from tests.helpers.script import Peer, Stage, head, stage
from tests.helpers.timing import SOON, later
from tests.helpers.tools import finish
from tests.helpers.wire import WireListener, closed_port


def command(on: Stage, *flags: str, port: int | None = None) -> tuple[str, ...]:
    return (*MODULE, "connect", *flags, str(port or on.port), f"http://{on.address}")


@contextlib.asynccontextmanager
async def connected(
    on: Stage,
    *flags: str,
    stdin: Any = asyncio.subprocess.PIPE,
    stdout: Any = asyncio.subprocess.PIPE,
) -> AsyncIterator[tuple[asyncio.subprocess.Process, Peer]]:
    """Run the command; yield its process and the upstream that it has reached."""
    process = await asyncio.create_subprocess_exec(
        *command(on, *flags),
        stdin=stdin,
        stdout=stdout,
        stderr=asyncio.subprocess.PIPE,
        env=environment(),
    )
    try:
        yield process, await on.upstream()
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def full(pipe: int) -> None:
    """Wait until a pipe takes no more."""
    poll = select.poll()
    poll.register(pipe, select.POLLOUT)
    async with asyncio.timeout(SOON):
        while True:
            if not poll.poll(0):
                return
            await asyncio.sleep(0)


@pytest.mark.parametrize("via", ["connect", "websocket"])
async def test_standard_streams_are_connected_to_the_tunnel(via: str) -> None:
    async with stage() as on, connected(on, "--via", via) as (process, upstream):
        assert process.stdin is not None
        assert process.stdout is not None
        await upstream.says(b"hello")
        assert await later(process.stdout.readexactly(5)) == b"hello"
        process.stdin.write(b"bye")
        await process.stdin.drain()
        await upstream.gets(b"bye")
        process.stdin.close()
        await upstream.gets_end()
        # The other direction flows on.
        await upstream.says(b"last")
        upstream.ends()
        assert await later(process.stdout.read()) == b"last"
        assert await later(process.wait()) == 0


async def test_it_ends_with_the_tunnel_even_if_input_is_open() -> None:
    async with stage() as on, connected(on) as (process, upstream):
        upstream.closes()
        assert await later(process.wait()) == 0


async def test_it_waits_for_non_blocking_input() -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    async with stage() as on, connected(on, stdin=reading) as (process, upstream):
        os.close(reading)
        # It has come to the point where there is nothing to read.
        await upstream.says(b"hello")
        assert process.stdout is not None
        assert await later(process.stdout.readexactly(5)) == b"hello"
        os.write(writing, b"late")
        await upstream.gets(b"late")
        os.close(writing)
        await upstream.gets_end()
        upstream.ends()
        assert await later(process.wait()) == 0


async def test_non_blocking_output_is_written_completely() -> None:
    content = bytes(range(256)) * 2000
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    async with stage() as on, connected(on, stdout=writing) as (process, upstream):
        await upstream.says(content)
        upstream.ends()
        await full(writing)
        os.close(writing)
        file = os.fdopen(reading, "rb")
        assert await later(asyncio.to_thread(file.read)) == content
        file.close()
        assert await later(process.wait()) == 0


async def test_on_a_terminal_it_is_interrupted_while_output_blocks() -> None:
    reading, writing = os.pipe()
    ours, theirs = pty.openpty()
    async with stage() as on, connected(on, stdin=theirs, stdout=writing) as (process, upstream):
        flooding = asyncio.get_running_loop().create_task(upstream.says(b"x" * 1_000_000))
        await full(writing)
        process.send_signal(signal.SIGINT)
        assert await later(process.wait()) == -signal.SIGINT
        flooding.cancel()
        await asyncio.gather(flooding, return_exceptions=True)
        upstream.ignores_more()
    for descriptor in (reading, writing, ours, theirs):
        os.close(descriptor)


async def test_without_a_tunnel_it_is_interrupted_with_any_input() -> None:
    listener = WireListener()
    process = await asyncio.create_subprocess_exec(
        *MODULE, "connect", "22", f"http://127.0.0.1:{listener.port}",
        stdin=asyncio.subprocess.PIPE, env=environment(),
    )  # fmt: skip
    with await listener.accept() as wire:
        assert await later(wire.receive())
        process.send_signal(signal.SIGINT)
        assert await later(process.wait()) == -signal.SIGINT
    listener.close()


async def test_a_shared_master_keeps_its_tunnel_after_ctrl_c() -> None:
    async with stage() as on, connected(on) as (process, upstream):
        # The tunnel is open.
        await upstream.says(b"hello")
        assert process.stdout is not None
        assert await later(process.stdout.readexactly(5)) == b"hello"
        process.send_signal(signal.SIGINT)
        assert process.stdin is not None
        process.stdin.write(b"more")
        await upstream.gets(b"more")
        await upstream.says(b"again")
        assert await later(process.stdout.readexactly(5)) == b"again"
        upstream.ends()
        assert await later(process.wait()) == 0


async def test_it_ends_with_its_parent_while_the_service_continues() -> None:
    reading, writing = os.pipe()
    async with stage() as on, connected(on, stdout=writing) as (process, upstream):
        os.close(writing)
        os.close(reading)
        assert process.stdin is not None
        process.stdin.close()
        assert await later(process.wait()) == 0
        await upstream.gets_end()
        await upstream.gets_cut()


async def test_closed_standard_streams_are_empty_ones() -> None:
    async with stage() as on:
        closed = f"exec {shlex.join(command(on))} <&- >&- 2>&-"
        process = await asyncio.create_subprocess_exec("sh", "-c", closed, env=environment())
        upstream = await on.upstream()
        await upstream.gets_end()
        await upstream.says(b"hello")
        upstream.ends()
        assert await later(process.wait()) == 0


async def test_a_file_is_sent_and_the_response_read_completely(tmp_path: Path) -> None:
    content = bytes(range(256)) * 20_000
    path = tmp_path / "content"
    path.write_bytes(content)
    async with stage() as on:
        with path.open("rb") as file:
            process = await asyncio.create_subprocess_exec(
                *command(on), stdin=file, stdout=asyncio.subprocess.PIPE, env=environment()
            )
        upstream = await on.upstream()
        assert await upstream.gets_bytes(len(content)) == content
        await upstream.gets_end()
        sending = asyncio.get_running_loop().create_task(upstream.wire.send(content))
        assert process.stdout is not None
        assert await later(process.stdout.readexactly(len(content))) == content
        await sending
        upstream.ends()
        assert await later(process.wait()) == 0


async def test_workspace_token_and_headers_are_sent(tmp_path: Path) -> None:
    tokens = tmp_path / "token"
    tokens.write_text("secret\n")
    config = local_config(access=Access(tokens=["secret"]))
    flags = ("--workspace", "agent-9", "--token-file", str(tokens), "--header", "A: 1")
    async with stage(config) as on:
        on.listener.close()
        on.listener = WireListener("127.18.0.9", on.port)
        async with connected(on, *flags) as (process, upstream):
            upstream.ends()
            assert await later(process.wait()) == 0
        refused = await finish(*command(on), variables=environment())
        assert refused.status == 1
        assert b"responded with 407: a token is needed" in refused.errors


@pytest.mark.parametrize(
    ("arguments", "status", "expected"),
    [
        (("0", "http://a"), 2, "0 is not in the range"),
        (("22",), 2, "Missing argument 'URL'"),
        (("22", "a:80"), 2, "'a:80' is not a URL like http://host:8080"),
        (("22", "http://a", "--header", "x"), 2, "'x' is not a header line"),
        (("22", "http://a", "--workspace", "\u20ac"), 2, "has characters that are not printable"),
        (
            ("22", "http://a", "--workspace", "a\r\nB: c"),
            2,
            "has characters that are not printable",
        ),
        (("22", "http://a.invalid"), 1, "cannot connect to http://a.invalid:80"),
        (("22", "http://127.0.0.1:1"), 1, "cannot connect to http://127.0.0.1:1"),
    ],
)
async def test_an_error_is_one_line(arguments: tuple[str, ...], status: int, expected: str) -> None:
    done = await finish(*MODULE, "connect", *arguments, variables=environment())
    assert done.status == status
    assert done.errors.startswith(b"cmux-proxy: error: ")
    assert expected in done.errors.decode()
    assert done.errors.count(b"\n") == 1
    assert done.out == b""


async def test_the_error_of_the_proxy_is_printed() -> None:
    async with stage() as on:
        with closed_port() as port:
            done = await finish(*command(on, port=port), variables=environment())
        assert done.status == 1
        assert f"responded with 502: nothing listens on 127.0.0.1:{port};".encode() in done.errors


async def test_a_proxy_that_does_not_respond_is_124() -> None:
    listener = WireListener()
    url = f"http://127.0.0.1:{listener.port}"
    done = await finish(*MODULE, "connect", "--timeout", "100ms", "22", url)
    assert done.status == TIMED_OUT
    assert b"has not opened a tunnel within 0.1 s" in done.errors
    listener.close()


async def test_it_connects_through_an_http_proxy() -> None:
    async with stage() as on, http_proxy(on.address.host, on.address.port) as front_proxy:
        process = await asyncio.create_subprocess_exec(
            *MODULE, "connect", str(on.port), "http://vm.invalid",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            env=environment(http_proxy=front_proxy.url),
        )  # fmt: skip
        upstream = await on.upstream()
        await upstream.says(b"hello")
        upstream.ends()
        assert (await later(process.communicate()))[0] == b"hello"
        assert process.returncode == 0
        assert front_proxy.heads == [head("CONNECT vm.invalid:80 HTTP/1.1", "Host: vm.invalid:80")]


async def test_a_loopback_url_is_reached_without_the_http_proxy() -> None:
    async with stage() as on:
        variables = environment(http_proxy="http://127.0.0.1:1", ALL_PROXY="socks5://a")
        process = await asyncio.create_subprocess_exec(
            *command(on), stdout=asyncio.subprocess.PIPE, env=variables
        )
        upstream = await on.upstream()
        upstream.ends()
        assert await later(process.wait()) == 0


async def test_a_link_local_address_is_reached_by_its_zone() -> None:
    async with network() as net:
        await net.switch.set_up("addr add fe80::7/64 dev lo nodad")
        listener = net.switch.inside(lambda: WireListener("::"))
        process = await asyncio.create_subprocess_exec(
            *net.switch.command(*MODULE, "connect", "22", f"http://[fe80::7%25lo]:{listener.port}"),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env=environment(),
        )  # fmt: skip
        with await listener.accept() as wire:
            assert (await later(wire.receive())).startswith(b"CONNECT 127.0.0.1:22 HTTP/1.1\r\n")
            await wire.send(head("HTTP/1.1 200 OK") + b"hello")
        assert (await later(process.communicate()))[0] == b"hello"
        listener.close()
