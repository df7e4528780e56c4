"""Runs a call that blocks, such as a name look-up, in a separate thread.

The loop's own threads are few: with uvloop, connections to names share them and no more than two
may wait for the resolver; with asyncio there are six, and the loop waits for them at its end. Here
each call has a daemon thread, which nothing waits for at the end. Does not know how many calls
there may be: the caller limits them.
"""

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar, cast

from cmux_proxy.net.asyncio_backend import asyncio_loop
from cmux_proxy.net.futures import settle
from cmux_proxy.net.stream import Loop

T = TypeVar("T")


async def run_in_thread(loop: Loop, call: Callable[[], T]) -> T:
    """Return what `call` returns, or raise the Exception that it raises."""
    running = asyncio_loop(loop)
    outcome: asyncio.Future[tuple[T | None, Exception | None]] = running.create_future()

    def run() -> None:
        try:
            settled: tuple[T | None, Exception | None] = (call(), None)
        except Exception as error:
            settled = (None, error)
        try:
            running.call_soon_threadsafe(settle, outcome, settled)
        except RuntimeError:
            return  # the loop is closed, and nothing waits for the outcome

    threading.Thread(target=run, daemon=True).start()
    value, error = await outcome
    if error is not None:
        raise error
    return cast(T, value)
