"""The event loops that a process can run: native, uvloop and asyncio.

Neighbour: `net/backends.py` chooses how the streams in a loop are made.
"""

import asyncio
from collections.abc import Callable

from cmux_proxy._build import NATIVE, UVLOOP

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def loop_factory(name: str) -> LoopFactory:
    """Return what makes an event loop of that name, which must be there."""
    if name == NATIVE:
        from cmux_proxy.net.native_loop import NativeLoop

        return NativeLoop
    if name == UVLOOP:
        import uvloop

        return uvloop.new_event_loop
    return asyncio.new_event_loop


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
