"""Listening and running as a process (contract, section 8)."""

import asyncio
import contextlib
import re
import socket
from pathlib import Path

import pytest

from cmux_proxy import Proxy
from cmux_proxy._build import HAS_NATIVE
from tests.helpers.loops import io_of, loop_flags, loop_variables
from tests.helpers.proxies import MODULE, environment, local_config, proxy_process
from tests.helpers.script import get, head, stage
from tests.helpers.timing import later, soon
from tests.helpers.wire import Wire, WireListener

BURST = 1000
OK = head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"


async def run_command(*flags: str, **variables: str) -> tuple[int, str, str]:
    """Run the command until it exits; return status, standard output and standard error."""
    process = await asyncio.create_subprocess_exec(
        *MODULE,
        *flags,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(**variables),
    )
    out, errors = await later(process.communicate())
    assert process.returncode is not None
    return process.returncode, out.decode(), errors.decode()


async def responds(port: int) -> None:
    """Check that the proxy on this port responds with 400, because there is no route."""
    with await Wire.to("127.0.0.1", port) as wire:
        await wire.send(head("GET / HTTP/1.0"))
        assert (await soon(wire.receive_all())).startswith(b"HTTP/1.1 400 ")


def free_port() -> int:
    """Return a port that was free just now."""
    with socket.socket() as sock:
        sock.bind(("0.0.0.0", 0))
        port: int = sock.getsockname()[1]
        return port


def established(clients: list[socket.socket], port: int) -> int:
    """Return how many of the clients' connections to a port are established in the kernel.

    The kernel lists its table in parts, and may list a connection twice if others change meanwhile.
    """
    client_ports = {f"{client.getsockname()[1]:04X}" for client in clients}
    lines = Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    rows = [line.split() for line in lines]
    # State 01 is ESTABLISHED.
    established_ports = {
        row[1].rpartition(":")[2]
        for row in rows
        if row[3] == "01" and row[2].endswith(f":{port:04X}")
    }
    return len(established_ports & client_ports)


@pytest.mark.hosting
async def test_the_process_prints_its_addresses_and_serves_on_all_of_them(loop_name: str) -> None:
    listen = ["--listen", "127.0.0.1:0", "--listen=[::1]:0,127.0.0.2:0"]
    async with proxy_process(loop_name, *listen) as proxy:
        hosts = [address.host for address in proxy.addresses]
        assert hosts == ["127.0.0.1", "::1", "127.0.0.2"]
        assert len({address.port for address in proxy.addresses} - {0}) == 3
        assert re.fullmatch(rf"cmux-proxy [0-9.]+ \(.+, {io_of(loop_name)}\)", proxy.announced[-1])
        for address in proxy.addresses:
            with await Wire.to(address.host, address.port) as wire:
                await wire.send(head("GET / HTTP/1.0"))
                assert (await soon(wire.receive_all())).startswith(b"HTTP/1.1 400 ")
        await proxy.stop()


@pytest.mark.hosting
async def test_the_version_is_the_line_of_a_start_without_settings(loop_name: str) -> None:
    """Whatever the settings are, --version names the event loop of `--loop auto`."""
    async with proxy_process("native" if HAS_NATIVE else "uvloop", "--loop", "auto") as proxy:
        expected = (0, proxy.announced[-1] + "\n", "")
    assert await run_command(*loop_flags(loop_name), "--version") == expected
    assert await run_command("--version", **loop_variables(loop_name)) == expected


async def test_the_flag_overrides_the_variable(loop_name: str) -> None:
    variables = {"CMUX_LISTEN": "127.0.0.2:0, [::1]:0"}
    async with proxy_process(loop_name, "--listen", "127.0.0.1:0", variables=variables) as proxy:
        assert [address.host for address in proxy.addresses] == ["127.0.0.1"]


async def test_the_variable_may_be_a_list(loop_name: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *MODULE,
        stdout=asyncio.subprocess.PIPE,
        env=environment(CMUX_LISTEN="127.0.0.2:0, [::1]:0", **loop_variables(loop_name)),
    )
    assert process.stdout is not None
    lines = [(await later(process.stdout.readline())).decode() for _ in range(3)]
    process.terminate()
    await later(process.communicate())
    assert [line.rpartition(":")[0] for line in lines[:2]] == [
        "listening on 127.0.0.2",
        "listening on [::1]",
    ]
    assert lines[2].endswith(f", {io_of(loop_name)})\n")
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("listen", "expected"),
    [
        pytest.param("127.0.0.1:<p>,127.0.0.1:<p>", ["127.0.0.1:<p>"], id="the same twice"),
        pytest.param("0.0.0.0:<p>,127.0.0.1:<p>", ["0.0.0.0:<p>"], id="covered by a wildcard"),
        pytest.param("127.0.0.1:<p>,0.0.0.0:<p>", ["0.0.0.0:<p>"], id="the wildcard behind"),
        pytest.param("[::]:<p>,[::1]:<p>", ["[::]:<p>"], id="covered by IPv6"),
        pytest.param("[::]:<p>,127.0.0.1:<p>,0.0.0.0:<p>", ["[::]:<p>"], id="dual stack"),
        pytest.param("127.0.0.1:<p>,[::1]:<p>", ["127.0.0.1:<p>", "[::1]:<p>"], id="both kept"),
    ],
)
async def test_an_address_that_is_covered_is_bound_once(listen: str, expected: list[str]) -> None:
    port = free_port()
    addresses = [text.replace("<p>", str(port)) for text in listen.split(",")]
    async with Proxy(local_config(listen=addresses)) as proxy:
        bound = [str(address).replace(str(port), "<p>") for address in proxy.addresses]
        assert bound == expected
        await responds(port)


async def test_an_address_in_use_exits_with_1_and_one_line(loop_name: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        result = await run_command(*loop_flags(loop_name), "--listen", f"127.0.0.1:0,{address}")
    assert result == (
        1,
        "",
        f"cmux-proxy: error: cannot listen on {address}: "
        "the address is in use; `cmux-proxy ports` shows by whom\n",
    )


async def test_an_address_of_another_machine_exits_with_1_and_one_line() -> None:
    assert await run_command("--listen", "192.0.2.1:0") == (
        1,
        "",
        "cmux-proxy: error: cannot listen on 192.0.2.1:0: this machine does not have the address\n",
    )


@pytest.mark.parametrize("text", ["", "8080", "127.0.0.1", "a:80", "::1:80", "127.0.0.1:65536"])
async def test_a_malformed_address_exits_with_2_and_one_line_that_names_it(text: str) -> None:
    status, out, errors = await run_command("--listen", f"127.0.0.1:0,{text}")
    assert (status, out) == (2, "")
    assert errors.count("\n") == 1
    assert repr(text) in errors


async def test_a_malformed_variable_exits_with_2_and_one_line_that_names_it() -> None:
    status, out, errors = await run_command(CMUX_LISTEN="127.0.0.1:0,nonsense")
    assert (status, out) == (2, "")
    assert errors.count("\n") == 1
    assert "'nonsense'" in errors


async def test_the_module_prints_the_version_and_the_help() -> None:
    status, out, errors = await run_command("--version")
    assert (status, errors) == (0, "")
    assert out.startswith("cmux-proxy ")
    status, out, errors = await run_command("--help")
    assert (status, errors) == (0, "")
    assert "--listen" in out


async def test_the_process_proxies_with_its_flags(loop_name: str) -> None:
    listener = WireListener("127.0.0.2")
    async with proxy_process(loop_name, "--upstream-host", "127.0.0.2") as proxy:
        try:
            with await Wire.to("127.0.0.1", proxy.port) as client:
                route = f"X-Cmux-Port-Internal: {listener.port}"
                await client.send(head("GET / HTTP/1.1", "Host: a", route))
                with await soon(listener.accept()) as upstream:
                    assert await soon(upstream.receive()) == head("GET / HTTP/1.1", "Host: a")
                    await upstream.send(OK)
                    assert await soon(client.receive()) == OK
        finally:
            listener.close()
        await proxy.stop()


async def test_a_burst_of_a_thousand_connections_is_accepted_and_served(loop_name: str) -> None:
    async with proxy_process(loop_name, descriptor_limit=8192) as proxy:
        async with contextlib.AsyncExitStack() as stack:
            wires = []
            # All connects are started before the first one is awaited.
            loop = asyncio.get_running_loop()
            connects = []
            for _ in range(BURST):
                sock = stack.enter_context(socket.socket())
                sock.setblocking(False)
                connects.append(loop.sock_connect(sock, ("127.0.0.1", proxy.port)))
                wires.append(Wire(sock))
            await later(asyncio.gather(*connects))
            for wire in wires:
                await wire.send(head("GET / HTTP/1.1", "Host: a"))
            for wire in wires:
                assert (await later(wire.receive())).startswith(b"HTTP/1.1 400 ")
        await proxy.stop()


async def test_the_backlog_of_a_listener_has_room_for_a_burst() -> None:
    async with Proxy(local_config()) as proxy:
        port = proxy.addresses[0].port
        with contextlib.ExitStack() as stack:
            # The loop does not run meanwhile, so the connections stay in the backlog.
            clients = [stack.enter_context(socket.socket()) for _ in range(BURST)]
            for sock in clients:
                sock.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    sock.connect(("127.0.0.1", port))
            assert established(clients, port) == BURST
        await responds(port)


async def test_a_failure_on_one_connection_does_not_affect_others() -> None:
    async with stage() as on:
        steady, upstream = await on.pair()
        for malformed in (b"\x00" * 5000, b"\xff\xfb\x01", b"GET / HTTP/1.1\r\n" + b"\x01", b"\r"):
            client = await on.client()
            await client.says(malformed)
            client.resets()
        other, broken = await on.pair()
        await broken.says(b"nonsense\r\n\r\n")
        broken.resets()
        await other.gets_head()
        other.resets()
        await upstream.says(OK)
        await steady.gets(OK)
        await steady.says(get("/2"))
        await upstream.gets(head("GET /2 HTTP/1.1", "Host: a"))
