"""Running a coroutine in an event loop that runs out of memory; the loops are real ones."""

import asyncio

import pytest

from cmux_proxy.server.event_loops import run
from tests.helpers.loops import FACTORIES
from tests.helpers.timing import MS, soon


class Failing:
    """A callback whose failure asyncio cannot report: no memory is left for that either."""

    def __call__(self) -> None:
        raise MemoryError

    def __repr__(self) -> str:
        raise MemoryError


def test_a_turn_that_fails_for_want_of_memory_is_not_the_end(loop_name: str) -> None:
    done = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda *_: None)
        for number in range(3):
            loop.call_soon(Failing())
            await asyncio.sleep(1 * MS)
            done.append(number)

    run(FACTORIES[loop_name], main())
    assert done == [0, 1, 2]


def test_an_end_in_a_turn_that_fails_is_not_lost(loop_name: str) -> None:
    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        asyncio.get_running_loop().call_soon(Failing())

    run(FACTORIES[loop_name], main())


@pytest.mark.parametrize("error", [MemoryError, ZeroDivisionError])
def test_an_error_of_the_coroutine_is_raised(loop_name: str, error: type[Exception]) -> None:
    async def main() -> None:
        raise error

    with pytest.raises(error):
        run(FACTORIES[loop_name], main())


def test_what_the_coroutine_leaves_is_cancelled(loop_name: str) -> None:
    cancelled = []

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    async def main() -> None:
        left = asyncio.get_running_loop().create_task(waits())
        await soon(asyncio.sleep(0))
        assert not left.done()

    run(FACTORIES[loop_name], main())
    assert cancelled == [True]
