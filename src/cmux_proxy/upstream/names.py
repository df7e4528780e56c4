"""The addresses of names: looked up, kept for a moment, looked up again while they are in use.

The system's resolver does not tell for how long an answer is good, so it is taken for good for five
seconds. A name that is in use is looked up again in the background, so that nobody waits for it.
"""

import asyncio
import socket
from typing import Any, Final, NamedTuple

GOOD_FOR: Final = 5.0
# An older answer than this is not used any more, even if a new one is on its way.
_LONGEST: Final = 60.0
_MOST: Final = 1024

# As getaddrinfo returns it, and as aiohappyeyeballs takes it.
AddressInfo = tuple[int, int, int, str, tuple[Any, ...]]


class Found(NamedTuple):
    """The addresses of a name; `is_new` if they were looked up just now."""

    infos: list[AddressInfo]
    is_new: bool


class _Entry(NamedTuple):
    infos: list[AddressInfo]
    since: float


class Names:
    """The names that one event loop has looked up."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._known: dict[str, _Entry] = {}
        self._searches: dict[str, asyncio.Task[list[AddressInfo]]] = {}

    async def find(self, host: str, port: int) -> Found:
        """Return the addresses of a name; raise OSError or UnicodeError if it has none."""
        entry = self._known.get(host)
        age = _LONGEST if entry is None else self._loop.time() - entry.since
        if entry is None or age >= _LONGEST:
            return await self.find_anew(host, port)
        if age >= GOOD_FOR:
            self._search(host)
        return Found(_with_port(entry.infos, port), False)

    async def find_anew(self, host: str, port: int) -> Found:
        """Return the addresses of a name as they are now."""
        # Whoever stops waiting does not take the answer from the others.
        infos = await asyncio.shield(self._search(host))
        return Found(_with_port(infos, port), True)

    def _search(self, host: str) -> "asyncio.Task[list[AddressInfo]]":
        """Look a name up; whoever asks meanwhile gets the same answer."""
        search = self._searches.get(host)
        if search is None:
            search = self._searches[host] = self._loop.create_task(self._ask(host))
            search.add_done_callback(lambda done: self._finish(host, done))
        return search

    async def _ask(self, host: str) -> list[AddressInfo]:
        return list(await self._loop.getaddrinfo(host, 0, type=socket.SOCK_STREAM))

    def _finish(self, host: str, search: "asyncio.Task[list[AddressInfo]]") -> None:
        del self._searches[host]
        self._known.pop(host, None)
        # To ask for the exception is also to say that somebody has seen it.
        if search.cancelled() or search.exception() is not None:
            return
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[host] = _Entry(search.result(), self._loop.time())


def _with_port(infos: list[AddressInfo], port: int) -> list[AddressInfo]:
    return [
        (family, kind, protocol, name, (address[0], port, *address[2:]))
        for family, kind, protocol, name, address in infos
    ]
