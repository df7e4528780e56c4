"""How long a test waits before it calls something lost; nothing here is ever slept through.

CMUX_TEST_MS stretches every timeout: 1 on an idle machine, 10 on a slow or a busy one.
"""

import asyncio
import os
from collections.abc import Awaitable
from typing import Final, TypeVar

# One millisecond, in seconds.
MS: Final = 0.001 * float(os.environ.get("CMUX_TEST_MS", "1"))

# What has to happen on loopback has happened by then, or never will.
SOON: Final = 10_000 * MS
# The same for what a program of its own has to do first: start, clone, compress.
LATER: Final = 30_000 * MS

T = TypeVar("T")


async def soon(what: Awaitable[T]) -> T:
    """Return what comes; raise TimeoutError when it does not come soon."""
    async with asyncio.timeout(SOON):
        return await what


async def later(what: Awaitable[T]) -> T:
    """Return what comes; raise TimeoutError when it does not come even later."""
    async with asyncio.timeout(LATER):
        return await what
