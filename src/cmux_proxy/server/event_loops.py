"""The event loops that a process can run: native, uvloop and asyncio.

Neighbour: `net/backends.py` chooses how the streams in a loop are made.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from cmux_proxy._build import HAS_NATIVE, NATIVE, UVLOOP, best_loop, has_uvloop
from cmux_proxy.config.proxy_config import Config
from cmux_proxy.errors import ConfigError

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def choose_loop(config: Config) -> tuple[str, LoopFactory]:
    """Return how a worker does its I/O, in words, and what makes its event loop.

    Raises ConfigError where the event loop that is configured is not there.
    """
    is_native = HAS_NATIVE and not config.no_native_io
    name = best_loop(is_native) if config.loop == "auto" else config.loop
    if name == NATIVE and not HAS_NATIVE:
        raise ConfigError("loop", "native needs Linux and a compiled build; use auto")
    if name == NATIVE and config.no_native_io:
        raise ConfigError("loop", "native is for native I/O; use it without no-native-io")
    if name == UVLOOP and not has_uvloop():
        raise ConfigError(
            "loop", "uvloop is not installed: pip install 'cmux-proxy[uvloop]', or use auto"
        )
    return io_name(name, is_native), loop_factory(name)


def loop_factory(name: str) -> LoopFactory:
    """Return what makes an event loop of that name, which must be there."""
    if name == NATIVE:
        from cmux_proxy.net.native_loop import NativeLoop

        return NativeLoop
    if name == UVLOOP:
        import uvloop

        return uvloop.new_event_loop
    return asyncio.new_event_loop


def run(factory: LoopFactory, main: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine to its end in a new event loop.

    A turn of the loop that fails because no memory is left ends the turn only: asyncio's own code
    needs memory to report that a callback has failed.
    """
    with asyncio.Runner(loop_factory=factory) as runner:
        loop = runner.get_loop()
        task = loop.create_task(main)
        while not task.done():
            try:
                loop.run_until_complete(task)
            except MemoryError:
                continue
        task.result()


def io_name(loop_name: str, has_native_streams: bool) -> str:
    """Return how a process does its I/O, as the log at start and the metrics say it."""
    return (
        f"{loop_name} with native I/O" if has_native_streams and loop_name != NATIVE else loop_name
    )


def running_loop_name() -> str:
    """Return the name of the running loop; for any other loop, that of its package."""
    loop = asyncio.get_running_loop()
    module = type(loop).__module__
    if module.startswith("cmux_proxy."):
        return NATIVE
    return module.split(".")[0]
