"""ssh through `connect`, redis-cli through `forward`: programs that cannot send our field."""

import asyncio
import contextlib
import getpass
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from tests.commands.test_forward import forwarding
from tests.helpers.proxies import environment
from tests.helpers.script import stage
from tests.helpers.timing import SOON, later
from tests.helpers.tools import finish, tool
from tests.helpers.wire import closed_port
from tests.network.test_real_redis import redis_server

CONFIGURATION = """
ListenAddress 127.0.0.1:{port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
"""


@contextlib.asynccontextmanager
async def ssh_server(folder: Path) -> AsyncIterator[int]:
    """Run sshd, which takes the key `user`; return its port."""
    for name in ("host", "user"):
        made = await finish(
            tool("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)
        )
        assert made.status == 0, made.errors
    # Where sshd shuts in the half of itself that speaks with strangers; Debian makes it at boot.
    os.makedirs("/run/sshd", exist_ok=True)
    with closed_port() as free:
        port = free
    path = folder / "sshd_config"
    path.write_text(CONFIGURATION.format(port=port, folder=folder))
    process = await asyncio.create_subprocess_exec(
        tool("sshd"), "-D", "-e", "-f", str(path), stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(SOON):
            while b"Server listening" not in (line := await process.stderr.readline()):
                assert line, "sshd has ended"
        yield port
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.communicate()


async def test_ssh_goes_through_connect(tmp_path: Path) -> None:
    async with ssh_server(tmp_path) as port, stage() as on:
        through = f"{sys.executable} -m cmux_proxy connect {port} http://{on.address}"
        content = b"hello\n" * 100_000
        done = await finish(
            tool("ssh"), "-F", "none", "-i", str(tmp_path / "user"),
            "-o", f"ProxyCommand={through}",
            "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
            "-o", "LogLevel=ERROR", "-o", "BatchMode=yes",
            f"{getpass.getuser()}@vm", "cat; exit 3",
            stdin=content, variables=environment(),
        )  # fmt: skip
        assert (done.errors, done.status) == (b"", 3)
        assert done.out == content


async def test_ctrl_c_in_one_terminal_keeps_a_shared_connection(
    tmp_path: Path,
) -> None:
    async with ssh_server(tmp_path) as port, stage() as on:
        through = f"{sys.executable} -m cmux_proxy connect {port} http://{on.address}"
        ssh = (
            tool("ssh"), "-F", "none", "-i", str(tmp_path / "user"),
            "-o", f"ControlPath={tmp_path}/shared",
            "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
            "-o", "LogLevel=ERROR", "-o", "BatchMode=yes", f"{getpass.getuser()}@vm",
        )  # fmt: skip
        # The first one stays as the master, and its ProxyCommand in the group of its terminal.
        first = await asyncio.create_subprocess_exec(
            *ssh[:-1], "-o", f"ProxyCommand={through}", "-o", "ControlMaster=yes",
            "-o", "ControlPersist=yes", ssh[-1], "echo ready; cat",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            start_new_session=True, env=environment(),
        )  # fmt: skip
        assert first.stdin is not None
        assert first.stdout is not None
        assert await later(first.stdout.readline()) == b"ready\n"
        try:
            os.killpg(first.pid, signal.SIGINT)
            await later(first.wait())
            # It cannot connect by itself.
            alone = (*ssh[:-1], "-o", "ProxyCommand=false", ssh[-1])
            done = await finish(*alone, "echo other", variables=environment())
            assert (done.out, done.errors) == (b"other\n", b"")
        finally:
            await finish(*ssh, "-O", "exit", variables=environment())
            first.stdin.close()


async def test_redis_cli_uses_forward_and_reconnects(tmp_path: Path) -> None:
    async with (
        redis_server(tmp_path) as port,
        stage() as on,
        forwarding(on, f"0:{port}") as running,
    ):
        redis_cli = (tool("redis-cli"), "-p", str(running.ports[0]))
        for number in range(3):
            done = await finish(*redis_cli, "INCR", "visits")
            assert (done.status, done.out) == (0, b"%d\n" % (number + 1))
        done = await finish(*redis_cli, "--pipe", stdin=b"SET a 1\r\n" * 10_000)
        assert b"errors: 0, replies: 10000" in done.out
