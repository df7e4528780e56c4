"""What a child of the soak is asked to do, and how it tells how that goes.

The job comes as JSON in the command line. Every line that a child prints is JSON too and tells
everything so far; the last one has `over`. A child ends early when its standard input does.
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

Told = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """So many connections, or so many in a second, through the proxy to these ports.

    It takes some `seconds`, or with 0 until it is ended; every `every` seconds it is told of. The
    keys of exchanges count from `first` on, so that no two jobs have the same.
    """

    proxy: int
    ports: tuple[int, ...]
    count: int
    seed: str
    every: float
    seconds: float = 0
    first: int = 0

    def text(self) -> str:
        """Return it as an argument."""
        return json.dumps(asdict(self))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return what `text` made an argument of."""
        data = json.loads(text)
        return cls(**data | {"ports": tuple(data["ports"])})


class Account:
    """What was done, how often each kind, and what went wrong; the first problems tell most."""

    def __init__(self) -> None:
        self.done: Counter[str] = Counter()
        self.problem_count = 0
        self.problems: list[str] = []

    def problem(self, text: str) -> None:
        """Note what must not happen."""
        self.problem_count += 1
        if len(self.problems) < 20:
            self.problems.append(text)

    def told(self) -> Told:
        """Return all that as JSON has it."""
        return {
            "done": dict(self.done),
            "problem_count": self.problem_count,
            "problems": self.problems,
        }


def say(told: Told) -> None:
    """Print one line."""
    print(json.dumps(told), flush=True)


async def keep_telling(tell: Callable[[], Told], every: float) -> None:
    """Tell again and again, until cancelled."""
    while True:
        await asyncio.sleep(every)
        say(tell())


@contextlib.asynccontextmanager
async def in_background(*several: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run coroutines until the end of a `with`; raise what one of them has raised."""
    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(each) for each in several]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result


async def end_of_input() -> None:
    """Wait until the parent closes our standard input, or is gone."""
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
    """Do what the command line says, until it is done or the input ends."""
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
