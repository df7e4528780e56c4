"""Fuzzes a running proxy: python -m fuzz.sockets --seconds 60 --loop uvloop --build compiled.

Every byte of every dialogue has everything happen to it, in an order that the seed decides; every
fourth step has other bytes instead. `--step` repeats a single one.
"""

import argparse
import asyncio
import sys
import time
from pathlib import Path
from typing import Final

from fuzz.network.dialogues import DIALOGUES
from fuzz.network.peers import Failure, Slot
from fuzz.network.play import play
from fuzz.network.steps import Plan, Step
from fuzz.network.watch import Watch
from tests.helpers.proxies import proxy_process

_SOURCES: Final = Path(__file__).parent.parent / "src"
# Steps take place in so many slots at a time.
_SLOTS: Final = 3
# So many steps in each, and then everybody leaves, to see whether anything is left over.
_ROUND: Final = 100
# After so many rounds the memory that is held is what is normally held.
_WARM: Final = 2
_MOST_FAILURES: Final = 5
_PLAIN: Final = Step(DIALOGUES[0])
# The mark of a plain request that comes behind a step.
_BEHIND: Final = 5_000_000


class Fuzzer:
    """Plays steps and notes what fails."""

    def __init__(self, plan: Plan, watch: Watch, slots: list[Slot]) -> None:
        self.done = 0
        self.failures: list[str] = []
        self._plan = plan
        self._watch = watch
        self._slots = slots

    async def run(self, seconds: float) -> None:
        """Play rounds until the time is over."""
        end = time.monotonic() + seconds
        rounds = 0
        while time.monotonic() < end and len(self.failures) < _MOST_FAILURES:
            first = rounds * _ROUND * len(self._slots)
            await asyncio.gather(
                *(self._round(slot, first + at, end) for at, slot in enumerate(self._slots))
            )
            await self.rest()
            rounds += 1
            if rounds == _WARM:
                self._watch.settle()

    async def _round(self, slot: Slot, first: int, end: float) -> None:
        for number in range(first, first + _ROUND * len(self._slots), len(self._slots)):
            if time.monotonic() > end or len(self.failures) >= _MOST_FAILURES:
                return
            await self.step(slot, number)

    async def step(self, slot: Slot, number: int) -> None:
        """Play a step, and see that the proxy is as good as before."""
        step = self._plan.step(number)
        try:
            await play(slot, step, number)
            await play(slot, _PLAIN, number + _BEHIND)
            self._watch.check()
        except (AssertionError, OSError, TimeoutError) as error:
            self.failures.append(f"step {number}, {step}: {type(error).__name__}: {error}")
            slot.forget()
        self.done += 1

    async def rest(self) -> None:
        """Have everybody leave, and see what is left."""
        for slot in self._slots:
            slot.forget()
        try:
            await self._watch.check_rest()
            self._watch.check()
        except Failure as error:
            self.failures.append(f"after {self.done} steps: {error}")


async def fuzz(options: argparse.Namespace) -> Fuzzer:
    """Start a proxy, and fuzz it."""
    variables = {"PYTHONPATH": str(_SOURCES)} if options.build == "pure" else {}
    slots = [Slot() for _ in range(_SLOTS)]
    ports = ",".join(str(slot.listener.port) for slot in slots)
    async with proxy_process(
        options.loop, "--allow-port", ports, "--drain-timeout", "1s", variables=variables
    ) as proxy:
        if options.build not in proxy.announced[-1].lower():
            raise SystemExit(f"not the {options.build} build: {proxy.announced[-1]}")
        watch = Watch(proxy)
        fuzzer = Fuzzer(Plan(options.seed), watch, slots)
        for slot in slots:
            slot.proxy_port = proxy.port
        if options.step is not None:
            await fuzzer.step(slots[0], options.step)
            await fuzzer.rest()
        else:
            await fuzzer.run(options.seconds)
        for slot in slots:
            slot.close()
        try:
            await watch.end()
        except Failure as error:
            fuzzer.failures.append(str(error))
    return fuzzer


def main() -> int:
    """Fuzz; return 1 when something has failed."""
    parser = argparse.ArgumentParser(prog="fuzz.sockets", description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--step", type=int, help="repeat this one")
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="uvloop")
    parser.add_argument("--build", choices=("pure", "compiled"), default="compiled")
    options = parser.parse_args()
    start = time.monotonic()
    fuzzer = asyncio.run(fuzz(options))
    for failure in fuzzer.failures:
        print(f"seed {options.seed}, {failure}")
    print(
        f"sockets {options.loop} {options.build}: {fuzzer.done} steps of "
        f"{len(Plan(options.seed))} in {time.monotonic() - start:.0f} s, "
        f"seed {options.seed}, {len(fuzzer.failures)} failures"
    )
    return 1 if fuzzer.failures else 0


if __name__ == "__main__":
    sys.exit(main())
