"""Runs every test that is a coroutine on every event loop, and checks what it leaves behind.

A conftest that imports the two hooks below gives its directory such tests. Besides its own
assertions, a test fails when a callback raises, when a warning or an error is logged, and when
tasks or file descriptors are left over. CMUX_TEST_LOOPS is a comma-separated list of loops to use.
"""

import asyncio
import functools
import gc
import inspect
import logging
import os
import time
from collections.abc import Coroutine
from typing import Any, Final
from unittest import mock

import pytest
import uvloop

from cmux_proxy._build import HAS_NATIVE, NATIVE
from cmux_proxy.net import backends
from cmux_proxy.server.event_loops import LoopFactory, loop_factory
from tests.helpers.timing import MS

# By name; with `nested`, the streams of the proxy are native ones in the loop of somebody else.
FACTORIES: Final[dict[str, LoopFactory]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
    "native": lambda: loop_factory(NATIVE)(),
    "nested-asyncio": asyncio.new_event_loop,
    "nested-uvloop": uvloop.new_event_loop,
}
_WITH_NATIVE_STREAMS: Final = frozenset(["native", "nested-asyncio", "nested-uvloop"])
_DEFAULT_LOOPS: Final = "native,asyncio,uvloop" if HAS_NATIVE else "asyncio,uvloop"
LOOPS: Final = os.environ.get("CMUX_TEST_LOOPS", _DEFAULT_LOOPS).split(",")


def loop_settings(loop_name: str) -> dict[str, Any]:
    """Return the settings with which the command does its I/O like that."""
    return {
        "loop": loop_name.removeprefix("nested-"),
        "no_native_io": loop_name not in _WITH_NATIVE_STREAMS,
    }


def loop_flags(loop_name: str) -> list[str]:
    """Return the same as flags of the command."""
    plain = [] if loop_name in _WITH_NATIVE_STREAMS else ["--no-native-io"]
    return ["--loop", loop_name.removeprefix("nested-"), *plain]


def loop_variables(loop_name: str) -> dict[str, str]:
    """Return the same as variables of the command."""
    is_plain = loop_name not in _WITH_NATIVE_STREAMS
    return {
        "CMUX_LOOP": loop_name.removeprefix("nested-"),
        "CMUX_NO_NATIVE_IO": str(int(is_plain)),
    }


def io_of(loop_name: str) -> str:
    """Return how a process with these settings names its I/O."""
    base = loop_name.removeprefix("nested-")
    return base if base == loop_name else f"{base} with native I/O"


_LOGGERS: Final = ("asyncio", "cmux_proxy")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run coroutines, and tests with the argument `loop_name`, on every loop.

    A module with HOSTINGS names the loops of its tests itself. Other coroutines are marked
    `in_loop`, unless they have the argument: those start processes or loops, which takes long, and
    are marked `hosting` where each loop is worth it.
    """
    takes_name = "loop_name" in metafunc.fixturenames
    if inspect.iscoroutinefunction(metafunc.function) and not takes_name:
        metafunc.fixturenames.append("loop_name")
    if "loop_name" in metafunc.fixturenames:
        has_own = hasattr(metafunc.module, "HOSTINGS")
        marks = () if takes_name or has_own else pytest.mark.in_loop
        names = metafunc.module.HOSTINGS if has_own else LOOPS
        metafunc.parametrize("loop_name", [pytest.param(name, marks=marks) for name in names])


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a coroutine; leave other tests to pytest."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    lines = run(pyfuncitem.obj(**arguments), str(pyfuncitem.callspec.params["loop_name"]))
    assert not lines, "the proxy or the event loop complained: " + "; ".join(lines)
    return True


def run(main: Coroutine[Any, Any, None], loop_name: str) -> list[str]:
    """Run a coroutine in a loop of its own; return what was logged as a warning or worse."""
    problems: list[str] = []
    log = _Log()
    _warm_up(loop_name)
    before = descriptors()
    for name in _LOGGERS:
        logging.getLogger(name).addHandler(log)
    try:
        with (
            mock.patch.object(backends, "HAS_NATIVE", loop_name in _WITH_NATIVE_STREAMS),
            asyncio.Runner(loop_factory=FACTORIES[loop_name]) as runner,
        ):
            runner.get_loop().set_exception_handler(
                lambda _loop, context: problems.append(_describe(context))
            )
            runner.run(_leave_nothing(main))
    finally:
        for name in _LOGGERS:
            logging.getLogger(name).removeHandler(log)
    gc.collect()
    # The objects that are left belong to pytest and others, and become more and more. To collect
    # them again and again would take most of the time.
    gc.freeze()
    assert not problems, "a callback or a task raised: " + "; ".join(problems)
    after = _settled_descriptors(before)
    assert after == before, f"descriptors are left over: {set(after.items()) ^ set(before.items())}"
    return log.lines


def descriptors(pid: int | str = "self") -> dict[str, str]:
    """Return the open file descriptors of a process, and what they refer to."""
    links: dict[str, str] = {}
    folder = f"/proc/{pid}/fd"
    for number in os.listdir(folder):
        try:
            links[number] = os.readlink(f"{folder}/{number}")
        except FileNotFoundError:
            pass  # the one that listdir had open
    return links


def _settled_descriptors(before: dict[str, str]) -> dict[str, str]:
    """Return the open descriptors once the threads of child processes have closed theirs."""
    end = time.monotonic() + 1000 * MS
    after = descriptors()
    while after != before and time.monotonic() < end:
        os.sched_yield()
        after = descriptors()
    return after


@functools.cache
def _warm_up(loop_name: str) -> None:
    """Let the loop open the descriptors that it keeps for the life of the process."""
    with asyncio.Runner(loop_factory=FACTORIES[loop_name]) as runner:
        runner.run(asyncio.sleep(0))
    # The objects of now stay; to collect them after every test would take most of the time.
    gc.collect()
    gc.freeze()


async def _leave_nothing(main: Coroutine[Any, Any, None]) -> None:
    await main
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    if rest:
        _done, rest = await asyncio.wait(rest, timeout=1000 * MS)
    assert not rest, f"tasks are left over: {rest}"


def _describe(context: dict[str, Any]) -> str:
    error = context.get("exception")
    return f"{context.get('message')}: {error!r} ({context})"


class _Log(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.name} {record.levelname}: {record.getMessage()}")
