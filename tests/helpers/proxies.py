"""Proxies for tests: in the test's event loop, or as a process."""

import asyncio
import contextlib
import fcntl
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from cmux_proxy import Address, Config
from tests.helpers.loops import descriptors, loop_flags
from tests.helpers.timing import SOON, later
from tests.helpers.wire import Wire

# Above all descriptors that the process uses itself.
_HIGH: Final = 100
# Passes sockets as systemd does, then becomes the service.
_PASS: Final = """
import os, sys
numbers, *command = sys.argv[1:]
for to, number in enumerate(map(int, numbers.split(",")), start=3):
    os.dup2(number, to)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(to - 2))
os.execvp(command[0], command)
"""
# The lines of a drain that waits: for load balancers, and for connections.
_DRAINING: Final = re.compile(
    r"cmux-proxy: INFO: (?:stopping: accepts for|draining: waits up to) .*\n"
)
MODULE: Final = (sys.executable, "-m", "cmux_proxy")


def local_config(**options: Any) -> Config:
    """Return a configuration that listens on a free port of 127.0.0.1."""
    return Config(**{"listen": ["127.0.0.1:0"], **options})


def environment(**variables: str) -> dict[str, str]:
    """Return this process's environment with no CMUX_ variable except the given ones.

    The access log is off, because most errors are intended; a test may enable it.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("CMUX_")}
    return {**inherited, "PYTHONUNBUFFERED": "1", "CMUX_ACCESS_LOG": "off", **variables}


def path_with(folder: Path) -> str:
    """Return a PYTHONPATH on which a folder comes first, for its `sitecustomize.py`."""
    return os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])


class ProxyProcess:
    """A running `python -m cmux_proxy`; `announced` are the lines it printed at its start."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.announced: list[str] = []

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def addresses(self) -> list[Address]:
        """The addresses that it printed."""
        return [
            Address.parse(line.removeprefix("listening on "))
            for line in self.announced
            if line.startswith("listening on ")
        ]

    @property
    def port(self) -> int:
        """The port of its first address."""
        return self.addresses[0].port

    async def started(self) -> None:
        """Wait until it has printed that it is ready."""
        stdout = self._process.stdout
        assert stdout is not None
        while not (self.announced and self.announced[-1].startswith("cmux-proxy ")):
            line = await later(stdout.readline())
            assert line, f"the proxy did not start: {await self.ended()}"
            self.announced.append(line.decode().rstrip("\n"))

    def signal(self, number: int = signal.SIGTERM) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    async def ended(self) -> tuple[int, str]:
        """Wait until it has ended; return its exit status and its standard error."""
        _out, errors = await later(self._process.communicate())
        status = self._process.returncode
        assert status is not None
        return status, errors.decode()

    async def stop(self) -> None:
        """Stop it; check that it drains, exits with 0 and logs nothing."""
        self.signal()
        await self.drains()

    async def drains(self, status: int = 0) -> None:
        """Check that it ends with this status and logs only what the drain waits for."""
        ended, errors = await self.ended()
        assert (ended, without_drain_lines(errors)) == (status, "")

    def kill(self) -> None:
        """Kill it, if it has not ended."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def status(self) -> int:
        """Wait until it has ended, without reading its output; return its exit status."""
        return await later(self._process.wait())

    def workers(self) -> list[int]:
        """Return the ids of its worker processes."""
        with open(f"/proc/{self.pid}/task/{self.pid}/children", encoding="ascii") as children:
            return [int(pid) for pid in children.read().split()]

    async def error_line(self) -> str:
        """Return the next line of its standard error."""
        stderr = self._process.stderr
        assert stderr is not None
        return (await later(stderr.readline())).decode().rstrip("\n")

    def descriptors(self) -> dict[str, str]:
        """Return its open files."""
        return descriptors(self.pid)

    def peak_memory(self) -> int:
        """Return its peak resident memory in bytes."""
        with open(f"/proc/{self.pid}/status", encoding="ascii") as status:
            match = re.search(r"VmHWM:\s+([0-9]+) kB", status.read())
        assert match is not None
        return int(match[1]) * 1024

    async def wait_until_asleep(self) -> None:
        """Wait until it sleeps in 200 checks in a row; a process that spins never does."""
        asleep = 0
        async with asyncio.timeout(SOON):
            while asleep < 200:
                asleep = asleep + 1 if self._state() == "S" else 0
                await asyncio.sleep(0)

    def _state(self) -> str:
        with open(f"/proc/{self.pid}/stat", encoding="ascii") as stat:
            return stat.read().rpartition(")")[2].split()[0]


def without_drain_lines(errors: str) -> str:
    """Return standard error without the line about what a drain waits for."""
    return _DRAINING.sub("", errors)


@contextlib.asynccontextmanager
async def proxy_process(
    loop_name: str,
    *flags: str,
    variables: Mapping[str, str] | None = None,
    descriptor_limit: int | None = None,
    has_group: bool = False,
    within: Sequence[str] = (),
    passed: Sequence[socket.socket] = (),
) -> AsyncIterator[ProxyProcess]:
    """Run a proxy as a process; it listens on a free port unless a flag says otherwise.

    With `has_group` it leads a process group. `within` is a command that executes the command after
    it. `passed` sockets are passed as systemd does, instead of the port.
    """
    command = [*within, *MODULE, *loop_flags(loop_name), *flags]
    numbers = [fcntl.fcntl(sock, fcntl.F_DUPFD, _HIGH) for sock in passed]
    if passed:
        command = [sys.executable, "-c", _PASS, ",".join(map(str, numbers)), *command]
    elif not any(flag.startswith("--listen") for flag in flags):
        command += ["--listen", "127.0.0.1:0"]
    if descriptor_limit is not None:
        command = ["sh", "-c", f'ulimit -n {descriptor_limit}; exec "$@"', "sh", *command]
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(**(variables or {})),
        start_new_session=has_group,
        pass_fds=numbers,
    )
    for number in numbers:
        os.close(number)
    proxy = ProxyProcess(process)
    try:
        await proxy.started()
        yield proxy
    finally:
        proxy.kill()
        await proxy.ended()


async def is_served(wire: Wire) -> None:
    """Check that the proxy responds on this connection."""
    await wire.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    data = b""
    while b"missing required header" not in data:
        chunk = await later(wire.receive())
        assert chunk, data
        data += chunk


@contextlib.asynccontextmanager
async def embedding_program(code: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run Python code that embeds the proxy, for as long as the block."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(),
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
