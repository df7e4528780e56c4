"""Fuzzes a running proxy: python -m fuzz.sockets --seconds 60 --loop uvloop --build compiled.

Each event happens at every byte of every dialogue, in an order that the seed decides. Every fourth
step mutates the bytes instead. `--step` repeats a single step.
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
        while time.monotonic() < end and len(self.failures) < _MAX_FAILURES:
            first = rounds * _ROUND * len(self._slots)
            await asyncio.gather(
                *(self._round(slot, first + index, end) for index, slot in enumerate(self._slots))
            )
            await self.close_all()
            rounds += 1
            if rounds == _WARM:
                self._watch.settle()

    async def _round(self, slot: Slot, first: int, end: float) -> None:
        for number in range(first, first + _ROUND * len(self._slots), len(self._slots)):
            if time.monotonic() > end or len(self.failures) >= _MAX_FAILURES:
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
