"""The child programs of the soak, in the parent."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from typing import Final

from bench.load.processes import BenchError
from bench.soak.jobs import Job, Report

_ENDED_WITHIN: Final = 60.0
_MAX_LINE: Final = 1 << 20


class Child:
    """One child program; `report` is its last report."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self.report: Report = {}
        self._process = process
        self._has_report = asyncio.Event()
        self._reading = asyncio.get_running_loop().create_task(self._read())

    async def _read(self) -> None:
        stdout = self._process.stdout
        assert stdout is not None
        while line := await stdout.readline():
            self.report = json.loads(line)
            self._has_report.set()
        self._has_report.set()

    @property
    def done(self) -> dict[str, int]:
        """The counts of its actions so far, by kind."""
        done: dict[str, int] = self.report.get("done", {})
        return done

    async def ready(self, timeout: float) -> None:
        """Wait for its first report."""
        async with asyncio.timeout(timeout):
            await self._has_report.wait()
        if not self.report:
            raise BenchError(f"{self.name} ended with status {await self._process.wait()}")

    async def over(self) -> None:
        """Wait until it has ended."""
        # A cancelled wait does not cancel the reading.
        await asyncio.shield(self._reading)
        await self._process.wait()

    async def end(self) -> None:
        """Stop it, and wait for its end."""
        stdin = self._process.stdin
        if stdin is not None:
            stdin.close()
        try:
            async with asyncio.timeout(_ENDED_WITHIN):
                await self.over()
        except TimeoutError:
            self._process.kill()
            await self.over()

    def problems(self) -> list[str]:
        """Return its problems; the first ones in full."""
        problems: list[str] = list(self.report.get("problems", []))
        count = self.report.get("problem_count", 0) - len(problems)
        more = [f"{self.name}: {count} more problems"] if count else []
        status = self._process.returncode
        lost = [] if self.report.get("over") else [f"{self.name} ended early, with status {status}"]
        return problems + more + lost


@contextlib.asynccontextmanager
async def child(name: str, job: Job) -> AsyncIterator[Child]:
    """Run `bench.soak.NAME` until the end of a `with`."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", f"bench.soak.{name}", job.text()),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=_MAX_LINE,
        start_new_session=True,
    )
    program = Child(name, process)
    try:
        yield program
    finally:
        await program.end()
