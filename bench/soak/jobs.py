"""The job of a child program of the soak, and its reports.

The job is JSON in the command line. Every line that a child prints is JSON too, with all counts so
far; the last one has `over`. A child stops when its standard input ends.
"""

import asyncio
import contextlib
import json
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import asdict, dataclass
from typing import Any, Self

from bench.load.upstream import new_event_loop

Report = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """`count` connections, in total or per second, through the proxy to these ports.

    It lasts `seconds`, or with 0 until it is stopped, and reports every `every` seconds. The keys
    of its exchanges begin at `first`, so that no two jobs have the same keys.
    """

    proxy: int
    ports: tuple[int, ...]
    count: int
    seed: str
    every: float
    seconds: float = 0
    first: int = 0

    def text(self) -> str:
        """Return it as a command-line argument."""
        return json.dumps(asdict(self))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the result of `text`."""
        data = json.loads(text)
        return cls(**data | {"ports": tuple(data["ports"])})


class Counts:
    """Counts of actions by kind, and the problems; only the first problems are kept as text."""

    def __init__(self) -> None:
        self.done: Counter[str] = Counter()
        self.problem_count = 0
        self.problems: list[str] = []

    def problem(self, text: str) -> None:
        """Record a problem."""
        self.problem_count += 1
        if len(self.problems) < 20:
            self.problems.append(text)

    def report(self) -> Report:
        """Return the counts and problems as JSON data."""
        return {
            "done": dict(self.done),
            "problem_count": self.problem_count,
            "problems": self.problems,
        }


def print_report(report: Report) -> None:
    """Print a report as one line."""
    print(json.dumps(report), flush=True)


async def keep_reporting(report: Callable[[], Report], every: float) -> None:
    """Print reports at intervals, until cancelled."""
    while True:
        await asyncio.sleep(every)
        print_report(report())


@contextlib.asynccontextmanager
async def in_background(*coroutines: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run coroutines until the end of a `with`; raise the exception of a failed one."""
    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(coroutine) for coroutine in coroutines]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result


async def end_of_input() -> None:
    """Wait until the parent closes the standard input, or has ended."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def read() -> None:
        if not os.read(0, 4096):
            ended.set()

    loop.add_reader(0, read)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(0)


def run_job(work: Callable[[Job], Coroutine[Any, Any, None]]) -> None:
    """Run the job of the command line until its end, or until the input ends."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_until_end(work(Job.parse(sys.argv[1]))))


async def _until_end(work: Coroutine[Any, Any, None]) -> None:
    async with in_background(_cancel_at_end(asyncio.current_task())):
        with contextlib.suppress(asyncio.CancelledError):
            await work


async def _cancel_at_end(task: "asyncio.Task[Any] | None") -> None:
    await end_of_input()
    if task is not None:
        task.cancel()
