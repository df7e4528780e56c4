"""Watches the proxy process: whether it is alive, its errors, and its memory and descriptors."""

import asyncio
import contextlib
import re
import time

from fuzz.network.peers import Failure
from tests.helpers.proxies import ProxyProcess
from tests.helpers.timing import SOON

# The memory of an interpreter varies a little.
_MAX_GROWTH = 16 << 20


class Watch:
    """What a proxy writes to standard error, and its memory and descriptors at the start."""

    def __init__(self, proxy: ProxyProcess) -> None:
        self._proxy = proxy
        self._errors: list[str] = []
        self._descriptors = sorted(proxy.descriptors().values())
        self._memory = 0
        self._reading = asyncio.get_running_loop().create_task(self._read())

    @property
    def held(self) -> str:
        """The memory and the descriptors, as a text."""
        return f"{self.memory() >> 10} KiB, {len(self._descriptors)} descriptors"

    async def _read(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                line = await self._proxy.error_line()
                if not line:
                    return
                self._errors.append(line)

    def check(self) -> None:
        """Raise Failure if the proxy has ended or has written an error."""
        errors, self._errors = self._errors, []
        if errors:
            raise Failure("the proxy writes errors: " + "\n".join(errors))
        if self._reading.done():
            raise Failure("the proxy has closed its standard error")

    def settle(self) -> None:
        """Take the current memory as normal."""
        self._memory = self.memory()

    async def check_idle(self) -> None:
        """Raise Failure unless the idle proxy has its descriptors and memory of before."""
        end = time.monotonic() + SOON
        while sorted(self._proxy.descriptors().values()) != self._descriptors:
            if time.monotonic() > end:
                held = sorted(self._proxy.descriptors().values())
                raise Failure(f"descriptors are left over: {held} and not {self._descriptors}")
            await asyncio.sleep(0.01)
        grown = self.memory() - self._memory
        if self._memory and grown > _MAX_GROWTH:
            raise Failure(f"the proxy has grown by {grown >> 10} KiB")

    def memory(self) -> int:
        """Return the resident memory, in bytes."""
        with open(f"/proc/{self._proxy.pid}/status", encoding="ascii") as status:
            match = re.search(r"VmRSS:\s+([0-9]+) kB", status.read())
        assert match is not None
        return int(match[1]) * 1024

    async def end(self) -> None:
        """Stop the proxy; raise Failure unless it ends with status 0 and without errors."""
        self.check()
        self._reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._reading
        self._proxy.signal()
        ended = await self._proxy.ended()
        if ended != (0, ""):
            raise Failure(f"the proxy has ended with status {ended[0]}: {ended[1]}")
