"""How long a test waits before it fails; no test sleeps for that long.

CMUX_TEST_MS stretches every timeout: 1 on an idle machine, 10 on a slow or a busy one.
"""

import asyncio
import os
from collections.abc import Awaitable
from typing import Final, TypeVar

# One millisecond, in seconds.
MS: Final = 0.001 * float(os.environ.get("CMUX_TEST_MS", "1"))

# By then, everything that is expected on the loopback has happened.
SOON: Final = 10_000 * MS
# The same where a program has to start, clone or compress first.
LATER: Final = 30_000 * MS

T = TypeVar("T")


async def soon(what: Awaitable[T]) -> T:
    """Return the result; raise TimeoutError after `SOON` seconds."""
    async with asyncio.timeout(SOON):
        return await what


async def later(what: Awaitable[T]) -> T:
    """Return the result; raise TimeoutError after `LATER` seconds."""
    async with asyncio.timeout(LATER):
        return await what
