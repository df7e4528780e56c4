"""Watches the proxy process: whether it is alive, its errors, and its memory and descriptors."""

import asyncio
import contextlib
import re
import time

from fuzz import sanitized
from fuzz.network.peers import Failure
from tests.helpers.proxies import ProxyProcess
from tests.helpers.timing import SOON


class Watch:
    """What a proxy writes to standard error, and its memory and descriptors at the start.

    Its memory may grow by `max_growth` bytes.
    """

    def __init__(self, proxy: ProxyProcess, max_growth: int) -> None:
        self.port = proxy.port
        self._proxy = proxy
        self._max_growth = max_growth
        self._errors: list[str] = []
        self._descriptors = sorted(proxy.descriptors().values())
        self._memory = 0
        self._reading = asyncio.get_running_loop().create_task(self._read())

    @property
    def has_ended(self) -> bool:
        """Whether the proxy has closed its standard error."""
        return self._reading.done()

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
            text = "\n".join(errors)
            raise Failure(f"the proxy writes errors: {sanitized.report_in(text) or text}")
        if self.has_ended:
            raise Failure("the proxy has closed its standard error")

    def settle(self) -> None:
        """Take the current memory as normal."""
        self._memory = self.memory()

    async def check_idle(self) -> None:
        """Raise Failure unless the idle proxy has its descriptors and memory of before."""
        end = time.monotonic() + SOON
        while (held := self._held()) != self._descriptors:
            self.check()
            if time.monotonic() > end:
                raise Failure(f"descriptors are left over: {held} and not {self._descriptors}")
            await asyncio.sleep(0.01)
        grown = self.memory() - self._memory
        if self._memory and grown > self._max_growth:
            raise Failure(f"the proxy has grown by {grown >> 10} KiB")

    def _held(self) -> list[str]:
        """Return what the descriptors refer to; nothing once the proxy has ended."""
        try:
            return sorted(self._proxy.descriptors().values())
        except FileNotFoundError:
            return []

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
