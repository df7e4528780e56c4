"""cmux-proxy forward, as a program; redis-cli through it is in tests/network/test_real_redis.py."""

import asyncio
import contextlib
import re
import resource
import signal
import socket
from collections.abc import AsyncIterator, Sequence

import pytest

from cmux_proxy.commands.forward import Forward
from tests.helpers.proxies import MODULE, environment
from tests.helpers.script import Stage, stage
from tests.helpers.terminal import terminal
from tests.helpers.timing import later, soon
from tests.helpers.tools import finish
from tests.helpers.wire import Wire, closed_port


class Forwarding:
    """A running `cmux-proxy forward`; `ports` are the local ones, in their order."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.ports: list[int] = []

    async def error_line(self) -> str:
        """Return the next line on standard error."""
        assert self.process.stderr is not None
        return (await later(self.process.stderr.readline())).decode()


@contextlib.asynccontextmanager
async def forwarding(
    on: Stage | str, *forwards: str, flags: Sequence[str] = (),
    variables: dict[str, str] | None = None,
) -> AsyncIterator[Forwarding]:  # fmt: skip
    """Run the command for the proxy of a stage, or for one at a URL."""
    url = on if isinstance(on, str) else f"http://{on.address}"
    process = await asyncio.create_subprocess_exec(
        *MODULE, "forward", *flags, *forwards, url,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env=variables or environment(),
    )  # fmt: skip
    running = Forwarding(process)
    try:
        assert process.stdout is not None
        for _ in forwards:
            line = (await later(process.stdout.readline())).decode()
            match = re.fullmatch(
                r"forwarding 127\.0\.0\.1:(\d+) to port \d+ at https?://\S+\n", line
            )
            assert match is not None, line
            running.ports.append(int(match[1]))
        yield running
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@contextlib.asynccontextmanager
async def started(*command: str, errors: bool = False) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a command that ends with the block at the latest."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE if errors else None, env=environment(),
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.mark.parametrize(
    ("text", "expected"),
    [("5432", (5432, 5432)), ("16379:6379", (16379, 6379)), ("0:22", (0, 22))],
)
def test_a_forward_is_a_port_or_two(text: str, expected: tuple[int, int]) -> None:
    assert Forward.parse(text) == expected


@pytest.mark.parametrize(
    "text", ["", "0", "1:", ":1", "1:0", "1:2:3", "a", "1-2", "1:2-3", "65536", "-1:2", "00:1"]
)
def test_other_texts_are_no_forwards(text: str) -> None:
    with pytest.raises(ValueError, match="is neither a port nor LOCAL:PORT"):
        Forward.parse(text)


@pytest.mark.parametrize("via", ["connect", "websocket"])
async def test_each_connection_gets_a_tunnel_with_half_closes(via: str) -> None:
    flags = ("--via", via)
    async with (
        stage() as on,
        forwarding(on, f"0:{on.port}", f"0:{on.port}", flags=flags) as running,
    ):
        assert len(set(running.ports)) == 2
        for port in [*running.ports, running.ports[0]]:
            with await Wire.to("127.0.0.1", port) as near:
                upstream = await on.upstream()
                await near.send(b"question")
                near.end()
                await upstream.gets(b"question")
                await upstream.gets_end()
                await upstream.says(b"response")
                upstream.ends()
                assert await soon(near.receive_all()) == b"response"


async def test_a_hundred_connections_are_not_mixed_up() -> None:
    async with stage() as on, forwarding(on, f"0:{on.port}") as running:
        wires = [await Wire.to("127.0.0.1", running.ports[0]) for _ in range(100)]
        for number, wire in enumerate(wires):
            await wire.send(b"%d" % number)
        upstreams = [await on.upstream() for _ in range(100)]
        for upstream in upstreams:
            request = await later(upstream.wire.receive())
            await upstream.says(b"you are " + request)
            upstream.ends()
        for number, wire in enumerate(wires):
            assert await later(wire.receive_all()) == b"you are %d" % number
            wire.close()
        for upstream in upstreams:
            upstream.ignores_more()


async def test_a_connection_without_a_tunnel_is_closed_and_the_next_one_works() -> None:
    async with stage() as on:
        with closed_port() as port:
            async with forwarding(on, f"0:{port}", f"0:{on.port}") as running:
                with await Wire.to("127.0.0.1", running.ports[0]) as near:
                    assert await soon(near.receive()) == b""
                assert "responded with 502: nothing listens on" in await running.error_line()
                with await Wire.to("127.0.0.1", running.ports[1]) as near:
                    upstream = await on.upstream()
                    await near.send(b"x")
                    await upstream.gets(b"x")
                await upstream.gets_cut()


@pytest.mark.parametrize("via", ["connect", "websocket"])
async def test_a_reset_reaches_the_other_end(via: str) -> None:
    flags = ("--via", via)
    async with stage() as on, forwarding(on, f"0:{on.port}", flags=flags) as running:
        near = await Wire.to("127.0.0.1", running.ports[0])
        upstream = await on.upstream()
        await near.send(b"x")
        await upstream.gets(b"x")
        near.reset()
        await upstream.gets_cut()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_with_status_0(number: signal.Signals) -> None:
    async with stage() as on, forwarding(on, f"0:{on.port}") as running:
        running.process.send_signal(number)
        assert await later(running.process.wait()) == 0
        assert await running.error_line() == ""


@pytest.mark.parametrize(
    ("arguments", "status", "expected"),
    [
        (("http://a",), 2, "Missing argument"),
        (("a", "http://a"), 2, "'a' is neither a port nor LOCAL:PORT"),
        (("1", "b"), 2, "'b' is not a URL like"),
        (("0:1", "http://a", "--bind", "192.0.2.1"), 1, "cannot listen on 192.0.2.1:0"),
        (("0:1", "http://a", "--bind", "a..b"), 1, "cannot listen on a..b:0"),
    ],
)
async def test_an_error_is_one_line(arguments: tuple[str, ...], status: int, expected: str) -> None:
    done = await finish(*MODULE, "forward", *arguments, variables=environment())
    assert done.status == status
    assert done.errors.startswith(b"cmux-proxy: error: ")
    assert expected in done.errors.decode()
    assert done.errors.count(b"\n") == 1


async def test_a_local_port_in_use_has_a_remedy() -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        done = await finish(*MODULE, "forward", str(port), "http://a", variables=environment())
    assert (done.status, done.out) == (1, b"")
    assert done.errors.decode() == (
        f"cmux-proxy: error: cannot listen on 127.0.0.1:{port}: Address already in use; "
        f"name another local port, as in 0:{port}\n"
    )


async def test_on_a_terminal_a_line_counts_connections_and_bytes() -> None:
    async with stage() as on:
        command = (*MODULE, "forward", f"0:{on.port}", f"http://{on.address}")
        async with terminal(*command, variables=environment(TERM="xterm")) as (screen, process):
            await screen.shows("forwarding 127.0.0.1:")
            await screen.shows(f" to port {on.port} at http://{on.address}")
            await screen.shows("0 open, 0 done, 0 B sent, 0 B received")
            port = int(screen.seen.partition("127.0.0.1:")[2].partition(" ")[0])
            with await Wire.to("127.0.0.1", port) as near:
                upstream = await on.upstream()
                await screen.shows("1 open, 0 done, 0 B sent, 0 B received")
                await near.send(b"x" * 2048)
                await upstream.gets(b"x" * 2048)
                await upstream.says(b"y")
                upstream.ends()
                assert await soon(near.receive_all()) == b"y"
                near.end()
            await upstream.gets_end()
            await screen.shows("0 open, 1 done, 2.0 KiB sent, 1 B received")
            screen.type("\x03")
            assert await later(process.wait()) == 0


async def test_the_line_is_below_others_and_fits_the_terminal() -> None:
    async with stage() as on:
        url = f"http://{on.address}"
        command = (*MODULE, "forward", f"0:{on.port}", f"0:{on.port}", url)
        variables = environment(TERM="xterm")
        async with terminal(*command, variables=variables, columns=20) as (screen, process):
            await screen.shows(f"at {url}\r\n\r0 open")
            await screen.shows("0 open")
            with await Wire.to("127.0.0.1", int(screen.seen.split("127.0.0.1:")[1].split()[0])):
                upstream = await on.upstream()
                await screen.shows("1 open")
            await upstream.gets_end()
            upstream.ends()
            await screen.shows("0 open, 1 done")
            screen.type("\x03")
            assert await later(process.wait()) == 0
        # What is to stay begins at the left edge, in a line of its own.
        first, second = re.findall(r"([^\n]*)forwarding 127", screen.raw)
        assert (first, second[-4:]) == ("", "\r\033[K")
        lines = re.findall(r"\r\033\[K([0-9][^\r^]*)", screen.raw)
        assert lines
        assert max(map(len, lines)) == 19


@pytest.mark.parametrize("term", ["dumb", ""])
async def test_a_terminal_that_cannot_erase_gets_no_line(term: str) -> None:
    async with stage() as on:
        command = (*MODULE, "forward", f"0:{on.port}", f"0:{on.port}", f"http://{on.address}")
        async with terminal(*command, variables=environment(TERM=term)) as (screen, process):
            await screen.shows(f"at http://{on.address}\r\nforwarding")
            screen.type("\x03")
            assert await later(process.wait()) == 0
            assert "\033" not in screen.raw
            assert "open" not in screen.shown


async def test_a_signal_ends_it_with_status_0_with_open_tunnels() -> None:
    async with stage() as on, forwarding(on, f"0:{on.port}") as running:
        with await Wire.to("127.0.0.1", running.ports[0]) as near:
            upstream = await on.upstream()
            await near.send(b"x")
            await upstream.gets(b"x")
            running.process.send_signal(signal.SIGTERM)
            assert await later(running.process.wait()) == 0
            assert await running.error_line() == ""
        await upstream.gets_cut()


async def test_localhost_is_one_port_of_both_families() -> None:
    async with stage() as on:
        url = f"http://{on.address}"
        command = (*MODULE, "forward", "--bind", "localhost", f"0:{on.port}", url)
        async with started(*command) as process:
            assert process.stdout is not None
            lines = [(await later(process.stdout.readline())).decode() for _ in range(2)]
            port = int(lines[0].split()[1].rpartition(":")[2])
            end = f"to port {on.port} at {url}\n"
            assert lines == [
                f"forwarding 127.0.0.1:{port} {end}",
                f"forwarding [::1]:{port} {end}",
            ]
            for host in ("127.0.0.1", "::1"):
                with await Wire.to(host, port):
                    upstream = await on.upstream()
                await upstream.gets_end()
                upstream.ends()
            process.terminate()
            assert await later(process.wait()) == 0


async def test_it_raises_its_limit_on_descriptors() -> None:
    async with stage() as on:
        limited = ("sh", "-c", 'ulimit -Sn 40; ulimit -Hn 500; exec "$@"', "sh")
        command = (*limited, *MODULE, "forward", f"0:{on.port}", f"http://{on.address}")
        async with started(*command) as process:
            assert process.stdout is not None
            assert await later(process.stdout.readline())
            assert resource.prlimit(process.pid, resource.RLIMIT_NOFILE) == (500, 500)


async def test_without_descriptors_connections_wait_and_one_line_is_printed() -> None:
    async with stage() as on:
        limited = ("sh", "-c", 'ulimit -n 30; exec "$@"', "sh")
        command = (*limited, *MODULE, "forward", f"0:{on.port}", f"http://{on.address}")
        async with started(*command, errors=True) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            line = (await later(process.stdout.readline())).decode()
            port = int(line.split()[1].rpartition(":")[2])
            # They all wait in the backlog, so that descriptors run out while it is accepted.
            process.send_signal(signal.SIGSTOP)
            wires = [await Wire.to("127.0.0.1", port) for _ in range(40)]
            process.send_signal(signal.SIGCONT)
            waits = (
                "cmux-proxy: error: connections have to wait: all 30 file descriptors are in use; "
                "`ulimit -n` raises the limit\n"
            )
            # A tunnel without a descriptor may have reported an error before.
            while (line := (await later(process.stderr.readline())).decode()) != waits:
                assert line.startswith("cmux-proxy: error: ")
            for wire in wires:
                wire.close()
            process.terminate()
            _, errors = await later(process.communicate())
            for text in errors.decode().splitlines():
                assert text.startswith("cmux-proxy: error: "), errors
            assert process.returncode == 0
