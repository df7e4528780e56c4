"""The dialogues of `make fuzz` (fuzz/network), with a few random steps."""

import contextlib

import pytest

from tests.helpers.proxies import proxy_process

pytest.importorskip("fuzz.network", reason="fuzzing is not part of the package")

from fuzz.network.dialogues import DIALOGUES
from fuzz.network.peers import Slot
from fuzz.network.play import play
from fuzz.network.steps import Plan, Step

PLAN = Plan(seed=1)
STEPS = [*map(Step, DIALOGUES), *(PLAN.step(number) for number in range(60))]


async def test_each_side_receives_its_own_bytes(loop_name: str) -> None:
    with contextlib.closing(Slot()) as slot:
        flags = ("--allow-port", str(slot.listener.port), "--drain-timeout", "0s")
        async with proxy_process(loop_name, *flags) as proxy:
            slot.proxy_port = proxy.port
            for number, step in enumerate(STEPS):
                await play(slot, step, number)
            slot.close_connections()
            await proxy.stop()


def test_a_seed_determines_the_steps() -> None:
    repeated = Plan(seed=1)
    assert [repeated.step(number) for number in range(60)] == STEPS[len(DIALOGUES) :]
    other = Plan(seed=2)
    assert [other.step(number) for number in range(60)] != STEPS[len(DIALOGUES) :]
