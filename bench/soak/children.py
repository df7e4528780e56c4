"""The programs that the soak starts, as the parent sees them."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from typing import Final

from bench.load.processes import BenchError
from bench.soak.jobs import Job, Told

_ENDED_WITHIN: Final = 60.0
_LONGEST_LINE: Final = 1 << 20


class Child:
    """One program; `told` is what it has told last."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self.told: Told = {}
        self._process = process
        self._has_told = asyncio.Event()
        self._reading = asyncio.get_running_loop().create_task(self._read())

    async def _read(self) -> None:
        stdout = self._process.stdout
        assert stdout is not None
        while line := await stdout.readline():
            self.told = json.loads(line)
            self._has_told.set()
        self._has_told.set()

    @property
    def done(self) -> dict[str, int]:
        """What it has done so far, how often each kind."""
        done: dict[str, int] = self.told.get("done", {})
        return done

    async def ready(self, timeout: float) -> None:
        """Wait until it tells something for the first time."""
        async with asyncio.timeout(timeout):
            await self._has_told.wait()
        if not self.told:
            raise BenchError(f"{self.name} ended with status {await self._process.wait()}")

    async def over(self) -> None:
        """Wait until it has done its job."""
        # Whoever gives up waiting does not end the reading.
        await asyncio.shield(self._reading)
        await self._process.wait()

    async def end(self) -> None:
        """Have it end, and wait for that."""
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
        """Return what went wrong, the first ones in full."""
        problems: list[str] = list(self.told.get("problems", []))
        count = self.told.get("problem_count", 0) - len(problems)
        more = [f"{self.name}: {count} problems more"] if count else []
        status = self._process.returncode
        lost = [] if self.told.get("over") else [f"{self.name} ended early, with status {status}"]
        return problems + more + lost


@contextlib.asynccontextmanager
async def child(name: str, job: Job) -> AsyncIterator[Child]:
    """Run `bench.soak.NAME` until the end of a `with`."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", f"bench.soak.{name}", job.text()),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=_LONGEST_LINE,
        start_new_session=True,
    )
    program = Child(name, process)
    try:
        yield program
    finally:
        await program.end()
