"""What a start loads: only what its command and its settings need, and nothing later."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from cmux_proxy import commands
from cmux_proxy._build import HAS_NATIVE
from cmux_proxy.commands.subcommands import Subcommands
from tests.helpers.proxies import MODULE, environment, proxy_process
from tests.helpers.timing import LATER
from tests.helpers.tls import leaf, write_pem

# Needed by subcommands, the file of flags, the admin listener, several workers, tokens, TLS, and by
# clients and services that speak HTTP/2.
OPTIONAL = {
    "aiohttp", "cryptography", "ctypes", "difflib", "email", "hashlib", "hmac", "html",
    "http.client", "prometheus_client", "shutil", "tomllib", "urllib.parse",
    "cmux_proxy.admin", "cmux_proxy.client", "cmux_proxy.relay.access", "cmux_proxy.server.admin",
    "cmux_proxy.downstream.http2_connection", "cmux_proxy.downstream.tls_connection",
    "cmux_proxy.http2.engine", "cmux_proxy.net.tls_engine",
    "cmux_proxy.observe.worker_stats", "cmux_proxy.server.supervisor",
    "cmux_proxy.server.tls_local", "cmux_proxy.server.tls_reload",
}  # fmt: skip


def loaded(errors: str) -> list[str]:
    """Return what PYTHONPROFILEIMPORTTIME reports as loaded since the package was."""
    names = [line.rpartition("|")[2].strip() for line in errors.splitlines() if "|" in line]
    return names[names.index("cmux_proxy") :]


def loaded_by(*words: str) -> list[str]:
    """Run a command to its end; return the modules that it has loaded."""
    variables = environment(PYTHONPROFILEIMPORTTIME="1")
    done = subprocess.run(
        [*MODULE, *words], capture_output=True, text=True, env=variables, timeout=LATER
    )
    return loaded(done.stderr)


def loaded_by_start(*flags: str) -> list[str]:
    """Start a proxy; return the modules that it has loaded before it accepts."""
    command = [*MODULE, "--listen", "127.0.0.1:0", *flags]
    variables = environment(PYTHONPROFILEIMPORTTIME="1")
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=variables
    ) as process:
        assert process.stdout is not None
        while not process.stdout.readline().startswith("cmux-proxy "):
            assert process.poll() is None
        process.kill()
        return loaded(process.communicate()[1])


def test_a_start_loads_nothing_that_only_other_commands_and_settings_need() -> None:
    names = loaded_by_start()
    assert "cmux_proxy.server.proxy" in names
    assert OPTIONAL.intersection(names) == set()
    assert not HAS_NATIVE or "uvloop" not in names


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        (["--admin", "127.0.0.1:0"], "cmux_proxy.server.admin"),
        (["--workers", "2"], "cmux_proxy.server.supervisor"),
        (["--deny-port", "22"], "cmux_proxy.relay.access"),
        (["--tls-cert", "CERTIFICATE"], "cmux_proxy.downstream.tls_connection"),
        (["--tls", "auto"], "cmux_proxy.net.tls_leaves"),
    ],
    ids=["admin", "workers", "access", "tls", "tls auto"],
)
def test_a_setting_loads_what_it_needs_at_the_start(
    flags: Sequence[str], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    cert, key = write_pem(tmp_path, "a", leaf("a.example"))
    Path(cert).write_bytes(Path(cert).read_bytes() + Path(key).read_bytes())
    assert name in loaded_by_start(*[cert if flag == "CERTIFICATE" else flag for flag in flags])


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["workspace-ip", "a"], "cmux_proxy.commands.output"),
        (["connect", "1", "x"], "cmux_proxy.client.open_tunnel"),
    ],
    ids=["workspace-ip", "connect"],
)
def test_a_subcommand_loads_neither_the_server_nor_the_others(
    words: Sequence[str], name: str
) -> None:
    names = loaded_by(*words)
    assert name in names
    others = {"cmux_proxy.server.proxy", "cmux_proxy.client.local_ports", "cmux_proxy.client.probe"}
    assert others.intersection(names) == set()


def test_every_file_of_a_subcommand_is_one() -> None:
    folder = Path(commands.__file__).parent
    files = [path.stem for path in folder.glob("*.py") if "_command(" in path.read_text("utf-8")]
    subcommands = Subcommands()
    assert sorted(files) == sorted(name.replace("-", "_") for name in subcommands)
    assert {name: command.name for name, command in subcommands.items()} == {
        name: name for name in subcommands
    }
    assert len(subcommands) == len(files)
    assert "subcommands" not in subcommands
    assert subcommands.get("subcommands") is None


# A proxy in its own process, and requests of all kinds; what they load of the package is printed.
PROGRAM = """
import asyncio, sys
from cmux_proxy import Access, Config, Observability, Proxy

async def serve(reader, writer):
    await reader.read(1)
    writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\nConnection: close\\r\\n\\r\\n")
    writer.close()

async def ask(port, *lines):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write("\\r\\n".join([*lines, "Host: a", "X-Cmux-Token: t", "", ""]).encode())
    status = await reader.readline()
    writer.write(b"more")
    if not lines[0].startswith("CONNECT"):
        await reader.read()
    writer.close()
    return int(status.split()[1])

async def ask_with_tls(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"\\x16\\x03\\x01")
    alert = await reader.read(7)
    writer.close()
    return alert[0]

async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    open = f"X-Cmux-Port-Internal: {server.sockets[0].getsockname()[1]}"
    closed = "X-Cmux-Port-Internal: 1"
    end = "Connection: close"
    config = Config(
        listen=["127.0.0.1:0"], access=Access(tokens=["t"]),
        observability=Observability(admin="127.0.0.1:2", access_log="all", log_format="json"),
    )
    async with Proxy(config, on_record=lambda record: None) as proxy:
        port = proxy.addresses[0].port
        before = set(sys.modules)
        statuses = [
            await ask(port, "GET / HTTP/1.1", open, end),
            await ask(port, "GET / HTTP/1.0"),
            await ask(port, "GET / HTTP/1.1", closed, end),
            await ask(port, "GET / HTTP/1.1", closed, end, "Accept: application/json"),
            await ask(port, "GET / HTTP/1.1", closed, end, "Sec-Fetch-Mode: navigate"),
            await ask(port, "GET / HTTP/1.1", closed, end, "X-Cmux-Wait: 1ms"),
            await ask(port, "GET / HTTP/1.1", open, end, "X-Cmux-Workspace-Internal: w"),
            await ask(port, "CONNECT a:1 HTTP/1.1", open),
            await ask(port, "nonsense"),
            await ask_with_tls(port),
        ]
        proxy.snapshot(10)
        await proxy.drain()
        loaded = set(sys.modules) - before
    print(*statuses, *sorted(name for name in loaded if name.startswith("cmux_proxy")))

asyncio.run(main())
"""


def test_a_running_proxy_loads_nothing_more_of_the_package() -> None:
    # The files may have been replaced by those of another version meanwhile.
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=LATER,
    )
    assert (done.stdout, done.stderr) == ("200 400 502 502 502 502 502 200 400 21\n", "")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_a_worker_that_is_started_again_loads_nothing_more_of_the_package(
    loop_name: str,
) -> None:
    flags = ("--workers", "2", "--admin", "127.0.0.1:0", "--deny-port", "22")
    variables = {"PYTHONPROFILEIMPORTTIME": "1"}
    async with proxy_process(loop_name, *flags, variables=variables) as proxy:
        workers = proxy.workers()
        os.kill(workers[0], signal.SIGKILL)
        async with asyncio.timeout(LATER):
            # There is no event for it.
            while len(proxy.workers()) < len(workers) or workers[0] in proxy.workers():  # noqa: ASYNC110
                await asyncio.sleep(0)
        proxy.signal()
        _status, errors = await proxy.ended()
    _, killed, after = errors.partition("was ended by signal 9")
    assert killed
    names = [line.rpartition("|")[2].strip() for line in after.splitlines() if "|" in line]
    assert [name for name in names if name.startswith("cmux_proxy")] == []
