"""PostgreSQL behind `forward`: psql, many sessions at once, and a server that restarts."""

import asyncio
import contextlib
import os
import pwd
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final

from tests.commands.test_forward import forwarding
from tests.helpers.proxies import environment
from tests.helpers.script import stage
from tests.helpers.terminal import terminal
from tests.helpers.timing import later
from tests.helpers.tools import Finished, finish, missing, tool
from tests.helpers.wire import closed_port

# The sessions at the same time, and some for other clients.
SESSIONS: Final = 100
SETTINGS: Final = f"""
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = {SESSIONS + 10}
shared_buffers = 16MB
fsync = off
"""


def of_postgresql(name: str) -> str:
    """Return the path of a program that Debian has in one folder per version."""
    paths = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    path = shutil.which(name) or (str(paths[-1]) if paths else None)
    return path or missing(f"{name} is not installed")


def nobody() -> tuple[list[str], int]:
    """Return words before a command, and a user's id, that are not root's, as PostgreSQL wants."""
    if os.geteuid() != 0:
        return [], os.geteuid()
    user = pwd.getpwnam("nobody")
    ids = (f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups")
    return [tool("setpriv"), *ids], user.pw_uid


class Postgresql:
    """A cluster of its own, that can be started and stopped."""

    def __init__(self, folder: Path, port: int, words: Sequence[str]) -> None:
        self.port = port
        self._words = words
        self._data = str(folder / "data")
        self._settings = folder / "data" / "postgresql.conf"
        self._log = str(folder / "log")

    async def make(self) -> None:
        """Make the files."""
        await self._run("initdb", "--no-sync", "--auth=trust", "--username=tester")
        self._settings.write_text(f"{SETTINGS}port = {self.port}\n")

    async def start(self) -> None:
        """Have it accept sessions."""
        await self._run("pg_ctl", "start", "--wait", "--silent", f"--log={self._log}")

    async def stop(self) -> None:
        """End its sessions, and it."""
        await self._run("pg_ctl", "stop", "--wait", "--silent", "--mode=fast")

    async def _run(self, name: str, *words: str) -> None:
        command = (*self._words, of_postgresql(name), f"--pgdata={self._data}", *words)
        # No pipes: the server inherits them, and would keep them open.
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
            cwd="/", env=environment(LC_ALL="C"),
        )  # fmt: skip
        assert await later(process.wait()) == 0, name


@contextlib.asynccontextmanager
async def postgresql() -> AsyncIterator[Postgresql]:
    """Run a server, as somebody who is not root."""
    words, user = nobody()
    of_postgresql("initdb")
    with closed_port() as free:
        port = free
    # Not in the folder of the test, into which nobody else may look.
    with tempfile.TemporaryDirectory() as name:
        os.chown(name, user, -1)
        server = Postgresql(Path(name), port, words)
        await server.make()
        await server.start()
        try:
            yield server
        finally:
            await server.stop()


async def psql(port: int, *words: str, stdin: bytes = b"") -> Finished:
    """Run psql to its end; what it expected has neither titles nor frames."""
    return await finish(
        tool("psql"), "-XAqt", "-h", "127.0.0.1", "-p", str(port), "-U", "tester",
        "-v", "ON_ERROR_STOP=1", "postgres", *words,
        stdin=stdin, variables=environment(),
    )  # fmt: skip


async def test_psql_sends_queries_and_gets_rows() -> None:
    rows = b"".join(b"%d\trow %d\n" % (number, number) for number in range(100_000))
    async with postgresql() as server, stage() as on, forwarding(on, f"0:{server.port}") as near:
        port = near.ports[0]
        made = await psql(port, "-c", "CREATE TABLE rows (number int, name text)")
        assert (made.errors, made.status) == (b"", 0)
        # Both directions carry megabytes.
        put = await psql(port, "-c", "COPY rows FROM STDIN", stdin=rows)
        assert (put.errors, put.status) == (b"", 0)
        got = await psql(port, "-c", "COPY (SELECT * FROM rows ORDER BY number) TO STDOUT")
        assert (got.errors, got.status) == (b"", 0)
        assert got.out == rows


async def test_a_hundred_sessions_at_once(tmp_path: Path) -> None:
    # pgbench opens all of them before the first one may work.
    script = tmp_path / "script.sql"
    script.write_text(
        "INSERT INTO seen SELECT count(*) FROM pg_stat_activity "
        "WHERE application_name = 'pgbench';\n"
    )
    async with postgresql() as server, stage() as on, forwarding(on, f"0:{server.port}") as near:
        port = near.ports[0]
        made = await psql(port, "-c", "CREATE TABLE seen (number int)")
        assert (made.errors, made.status) == (b"", 0)
        done = await finish(
            of_postgresql("pgbench"), "-n", "-h", "127.0.0.1", "-p", str(port), "-U", "tester",
            "-c", str(SESSIONS), "-t", "5", "-f", str(script), "postgres",
            variables=environment(),
        )  # fmt: skip
        assert done.status == 0, done.errors
        seen = await psql(port, "-c", "SELECT count(*), max(number) FROM seen")
        assert seen.out == b"%d|%d\n" % (5 * SESSIONS, SESSIONS)


async def test_psql_reconnects_to_a_restarted_server() -> None:
    async with postgresql() as server, stage() as on, forwarding(on, f"0:{server.port}") as near:
        port = near.ports[0]
        command = (tool("psql"), "-XAqtn", "-h", "127.0.0.1", "-p", str(port), "-U", "tester")
        variables = environment(PAGER="cat", TERM="dumb")
        async with terminal(*command, "postgres", variables=variables) as (screen, process):
            screen.type("SELECT 'fir' || 'st';\n")
            await screen.shows("first")
            await server.stop()
            early = await psql(port, "-c", "SELECT 'too early'")
            assert (early.status, early.out) == (2, b"")
            assert "responded with 502: nothing listens on" in await near.error_line()
            await server.start()
            screen.type("SELECT 'lo' || 'st';\n")
            await screen.shows("terminating connection due to administrator command")
            await screen.shows("Attempting reset: Succeeded.")
            screen.type("SELECT 'sec' || 'ond';\n")
            await screen.shows("second")
            screen.type("\\q\n")
            assert await later(process.wait()) == 0
