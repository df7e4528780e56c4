"""Fuzzes a running proxy: python -m fuzz.sockets --seconds 60 --loop uvloop --build compiled.

Each event happens at every byte of every dialogue, in an order that the seed decides. Every fourth
step mutates the bytes instead. `--step` repeats a single step.
"""

import argparse
import asyncio
import sys
import time
from typing import Final

from fuzz.network.dialogues import DIALOGUES
from fuzz.network.peers import Failure, Slot
from fuzz.network.play import play
from fuzz.network.steps import Plan, Step
from fuzz.network.watch import Watch
from fuzz.proxies import add_options, watched_proxy

# How many slots play steps at the same time.
_SLOTS: Final = 3
# How many steps each slot plays before all connections close, and leftovers are looked for.
_ROUND: Final = 100
# After how many rounds the memory in use is taken as normal.
_WARM: Final = 2
_MAX_FAILURES: Final = 5
_PLAIN: Final = Step(DIALOGUES[0])
# The offset of the mark of the plain request after a step.
_AFTER_STEP: Final = 5_000_000


class Fuzzer:
    """Plays steps and records failures."""

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
        while time.monotonic() < end and not self._is_over():
            first = rounds * _ROUND * len(self._slots)
            await asyncio.gather(
                *(self._round(slot, first + index, end) for index, slot in enumerate(self._slots))
            )
            await self.close_all()
            rounds += 1
            if rounds == _WARM:
                self._watch.settle()

    def _is_over(self) -> bool:
        """Return whether nothing new would be found."""
        return self._watch.has_ended or len(self.failures) >= _MAX_FAILURES

    async def _round(self, slot: Slot, first: int, end: float) -> None:
        for number in range(first, first + _ROUND * len(self._slots), len(self._slots)):
            if time.monotonic() > end or self._is_over():
                return
            await self.step(slot, number)

    async def step(self, slot: Slot, number: int) -> None:
        """Play a step, and check that the proxy still works."""
        step = self._plan.step(number)
        try:
            await play(slot, step, number)
            await play(slot, _PLAIN, number + _AFTER_STEP)
            self._watch.check()
        except (AssertionError, OSError, TimeoutError) as error:
            self.failures.append(f"step {number}, {step}: {type(error).__name__}: {error}")
            slot.close_connections()
        self.done += 1

    async def close_all(self) -> None:
        """Close all connections, and check that nothing is left over."""
        for slot in self._slots:
            slot.close_connections()
        try:
            await self._watch.check_idle()
            self._watch.check()
        except Failure as error:
            self.failures.append(f"after {self.done} steps: {error}")


async def fuzz(options: argparse.Namespace) -> Fuzzer:
    """Start a proxy, and fuzz it."""
    slots = [Slot() for _ in range(_SLOTS)]
    ports = ",".join(str(slot.listener.port) for slot in slots)
    async with watched_proxy(options, "--allow-port", ports, "--drain-timeout", "1s") as watch:
        fuzzer = Fuzzer(Plan(options.seed), watch, slots)
        for slot in slots:
            slot.proxy_port = watch.port
        if options.step is not None:
            await fuzzer.step(slots[0], options.step)
            await fuzzer.close_all()
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
    """Fuzz; return 1 if something failed."""
    parser = argparse.ArgumentParser(prog="fuzz.sockets", description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--step", type=int, help="repeat this step")
    add_options(parser)
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
