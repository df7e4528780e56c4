"""The stages of a soak: WebSockets all the time, traffic and aborts before and after a reading."""

import argparse
import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any, Final

from bench.load.processes import BenchError, Process
from bench.soak.children import Child, child
from bench.soak.footprint import Footprint, footprint, settled
from bench.soak.jobs import Job
from bench.soak.options import FixedPorts
from bench.soak.verdict import Readings

_ECHO_PORTS: Final = 4
_LOAD_PORTS: Final = 6
_OPENED_PER_SECOND: Final = 100
_FIRST_IN_STAGE: Final = 10**10
# Counted in addition: pipelined requests are also counted one by one.
_COUNTED_IN_ADDITION: Final = ("restarts", "pipelined")
# The interval of reports, short enough for the rates of samples.
_REPORT_INTERVAL: Final = 0.25


@dataclass(frozen=True)
class Stage:
    """Programs that run at the same time, and for how many seconds."""

    names: tuple[str, ...]
    seconds: float


class Soak:
    """One run; `samples`, `done` and `problems` are its results."""

    def __init__(self, options: argparse.Namespace, proxy: Process) -> None:
        self._options = options
        self._proxy = proxy
        self._loop = asyncio.get_running_loop()
        self._begun = self._loop.time()
        self._stages = 0
        self._running: list[Child] = []
        self.samples: list[dict[str, Any]] = []
        self.done: dict[str, dict[str, int]] = {"traffic": {}, "aborts": {}, "idle": {}}
        self.problems: list[str] = []
        # How much memory the proxy has taken for each WebSocket, before any traffic.
        self.bytes_per_websocket: int | None = None
        self._held = FixedPorts(_ECHO_PORTS + 2 * _LOAD_PORTS)
        ports = self._held.numbers
        self._echo_ports = tuple(ports[:_ECHO_PORTS])
        self._ports = {
            "traffic": tuple(ports[_ECHO_PORTS:-_LOAD_PORTS]),
            "aborts": tuple(ports[-_LOAD_PORTS:]),
        }

    async def run(self) -> Readings:
        """Run all stages, and take readings in between."""
        options = self._options
        # By then, the check whether the proxy listens is closed, and all workers accept.
        await asyncio.sleep(1)
        start = footprint(self._proxy.pid)
        sockets = start.sockets + 2 * options.websockets
        async with AsyncExitStack() as stack:
            if options.websockets:
                await self._open_websockets(stack)
                taken = footprint(self._proxy.pid).resident - start.resident
                self.bytes_per_websocket = round(taken / options.websockets)
            first = await self._load(options.warm_up, sockets)
            last = await self._load(options.seconds - options.warm_up, sockets)
        for program in self._running:
            self._collect(program)
        closed = await settled(self._proxy.pid, start.sockets, rest=0)
        self._held.close()
        return Readings(start, first, last, closed)

    async def _open_websockets(self, stack: AsyncExitStack) -> None:
        options = self._options
        job = Job(
            self._proxy.port, self._echo_ports, options.websockets, options.seed, _REPORT_INTERVAL
        )
        echo = await stack.enter_async_context(child("echo", job))
        await echo.ready(30)
        idle = await stack.enter_async_context(child("idle", job))
        self._running += [echo, idle]
        await idle.ready(60 + options.websockets / _OPENED_PER_SECOND)
        if idle.report.get("open") != options.websockets:
            raise BenchError(f"not all WebSockets open: {'; '.join(idle.problems())}")

    async def _load(self, seconds: float, sockets: int) -> Footprint:
        """Run traffic and aborts, and return the footprint after their end."""
        for stage in stages(self._options, seconds):
            await self._run_stage(stage)
        return await settled(self._proxy.pid, sockets)

    async def _run_stage(self, stage: Stage) -> None:
        self._stages += 1
        options = self._options
        job = Job(self._proxy.port, (), 0, f"{options.seed} {self._stages}", _REPORT_INTERVAL)
        job = replace(job, seconds=stage.seconds)
        counts = {"traffic": options.clients, "aborts": options.aborts}
        async with AsyncExitStack() as stack:
            load = []
            for number, name in enumerate(stage.names):
                first = (2 * self._stages + number) * _FIRST_IN_STAGE
                own_job = replace(job, ports=self._ports[name], count=counts[name], first=first)
                load.append(await stack.enter_async_context(child(name, own_job)))
            await self._over(load)
        for program in load:
            self._collect(program)

    async def _over(self, load: Sequence[Child]) -> None:
        """Take samples until the load is over; raise BenchError if the proxy ends before."""
        sampling = self._loop.create_task(self._keep_sampling(load))
        running = self._loop.create_task(_all_over(load))
        try:
            await asyncio.wait([running, sampling], return_when=asyncio.FIRST_COMPLETED)
            if sampling.done():
                sampling.result()
        finally:
            sampling.cancel()
            running.cancel()
            await asyncio.gather(sampling, running, return_exceptions=True)

    def _collect(self, program: Child) -> None:
        """Add the problems and counts of a program that has ended."""
        self.problems += program.problems()
        total = self.done.setdefault(program.name, {})
        for kind, count in program.done.items():
            total[kind] = total.get(kind, 0) + count

    async def _keep_sampling(self, load: Sequence[Child]) -> None:
        programs = [*load, *(program for program in self._running if program.name == "idle")]
        before, then = _counts(programs), self._loop.time()
        while True:
            await asyncio.sleep(self._options.every)
            self._proxy.check()
            now, counts = self._loop.time(), _counts(programs)
            rates = {
                f"{name}_per_second": round((count - before[name]) / (now - then), 1)
                for name, count in counts.items()
            }
            self.samples.append(self._sample(now) | rates)
            before, then = counts, now

    def _sample(self, now: float) -> dict[str, Any]:
        held = footprint(self._proxy.pid)
        return {
            "after": round(now - self._begun, 1),
            "resident": held.resident,
            "descriptors": sum(held.descriptors.values()),
        }


async def _all_over(load: Sequence[Child]) -> None:
    await asyncio.gather(*(program.over() for program in load))


def _counts(programs: Sequence[Child]) -> dict[str, int]:
    return {program.name: finished(program.done) for program in programs}


def finished(done: dict[str, int]) -> int:
    """Return the number of exchanges, echoes or aborts, without additional counts."""
    return sum(count for kind, count in done.items() if kind not in _COUNTED_IN_ADDITION)


def stages(options: argparse.Namespace, seconds: float) -> list[Stage]:
    """Return the stages of a period: traffic and aborts at the same time, or in turns."""
    names = [
        name for name, count in (("traffic", options.clients), ("aborts", options.aborts)) if count
    ]
    if options.in_turns:
        return [Stage((name,), seconds / len(names)) for name in names]
    return [Stage(tuple(names), seconds)]
