"""The proxy under fire: does it live, does it complain, what does it hold."""

import asyncio
import contextlib
import re
import time

from fuzz.network.peers import Failure
from tests.helpers.proxies import ProxyProcess
from tests.helpers.timing import SOON

# Memory of an interpreter settles only roughly.
_MOST_GROWTH = 16 << 20


class Watch:
    """What a proxy writes to standard error, and what it held when the watch began."""

    def __init__(self, proxy: ProxyProcess) -> None:
        self._proxy = proxy
        self._complaints: list[str] = []
        self._descriptors = sorted(proxy.descriptors().values())
        self._memory = 0
        self._listening = asyncio.get_running_loop().create_task(self._listen())

    @property
    def held(self) -> str:
        """What is held, in words."""
        return f"{self.memory() >> 10} KiB, {len(self._descriptors)} descriptors"

    async def _listen(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                line = await self._proxy.error_line()
                if not line:
                    return
                self._complaints.append(line)

    def check(self) -> None:
        """Raise Failure if the proxy is dead or has complained."""
        complaints, self._complaints = self._complaints, []
        if complaints:
            raise Failure("the proxy complains: " + "\n".join(complaints))
        if self._listening.done():
            raise Failure("the proxy has closed its standard error")

    def settle(self) -> None:
        """Take the memory that is held by now for what is normal."""
        self._memory = self.memory()

    async def check_rest(self) -> None:
        """Raise Failure unless the proxy, which nobody talks to, holds what it held before."""
        end = time.monotonic() + SOON
        while sorted(self._proxy.descriptors().values()) != self._descriptors:
            if time.monotonic() > end:
                held = sorted(self._proxy.descriptors().values())
                raise Failure(f"descriptors are left over: {held} and not {self._descriptors}")
            await asyncio.sleep(0.01)
        grown = self.memory() - self._memory
        if self._memory and grown > _MOST_GROWTH:
            raise Failure(f"the proxy has grown by {grown >> 10} KiB")

    def memory(self) -> int:
        """Return the resident memory, in bytes."""
        with open(f"/proc/{self._proxy.pid}/status", encoding="ascii") as status:
            match = re.search(r"VmRSS:\s+([0-9]+) kB", status.read())
        assert match is not None
        return int(match[1]) * 1024

    async def end(self) -> None:
        """Have the proxy drain; raise Failure unless it ends well and in silence."""
        self.check()
        self._listening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._listening
        self._proxy.signal()
        ended = await self._proxy.ended()
        if ended != (0, ""):
            raise Failure(f"the proxy has ended with status {ended[0]}: {ended[1]}")
