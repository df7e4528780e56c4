"""The addresses of names: looked up, kept for a moment, looked up again while they are in use.

The system's resolver does not tell for how long an answer is good, so it is taken for good for five
seconds. A name that is in use is looked up again before that, in the background, so that nobody
waits for it. Where the resolver does not know for the moment, what it said last is good for longer.
"""

import asyncio
import socket
from collections.abc import Callable, Coroutine
from functools import lru_cache
from ipaddress import ip_address
from typing import Any, Final, NamedTuple

from cmux_proxy.upstream.resolver import AddressInfo

GOOD_FOR: Final = 5.0
# A name that is used after so many seconds is looked up again.
_ASK_AFTER: Final = GOOD_FOR / 2
# So long a search is waited for where an older answer would do.
_PATIENCE: Final = 0.5
# An older answer than this does not do any more.
_LONGEST: Final = 60.0
_MOST: Final = 1024

# The resolver knows that there is no such name, or that it has no address.
_NONE: Final = frozenset(
    getattr(socket, name)
    for name in ("EAI_NONAME", "EAI_NODATA", "EAI_ADDRFAMILY")
    if hasattr(socket, name)
)

LookUp = Callable[[str], Coroutine[Any, Any, list[AddressInfo]]]


class Found(NamedTuple):
    """The addresses of a name; `is_new` if they were looked up just now."""

    infos: list[AddressInfo]
    is_new: bool


class _Entry(NamedTuple):
    """An answer, when it came, and from when on it is taken for good."""

    infos: list[AddressInfo]
    since: float
    good_since: float


class _Search(NamedTuple):
    task: "asyncio.Task[list[AddressInfo]]"
    since: float


@lru_cache(_MOST)
def is_name(host: str) -> bool:
    """Return whether a host has to be looked up."""
    try:
        ip_address(host)
    except ValueError:
        return True
    return False


def named_address(host: str, sock: socket.socket) -> str | None:
    """Return the address that a name has led to; None where the host is no name."""
    if not is_name(host):
        return None
    try:
        return str(sock.getpeername()[0])
    except OSError:
        # It was reset just now, and is no name's any more.
        return ""


def is_unknown(error: BaseException) -> bool:
    """Return whether a search says that the name has no address, rather than nothing at all."""
    return isinstance(error, UnicodeError) or (
        isinstance(error, socket.gaierror) and error.errno in _NONE
    )


class Names:
    """The names that one event loop has looked up, which is what `look_up` does."""

    def __init__(self, loop: asyncio.AbstractEventLoop, look_up: LookUp) -> None:
        self._loop = loop
        self._look_up = look_up
        self._known: dict[str, _Entry] = {}
        self._searches: dict[str, _Search] = {}

    async def find(self, host: str, port: int) -> Found:
        """Return the addresses of a name; raise OSError or UnicodeError if it has none."""
        entry = self._good(host)
        if entry is None:
            return await self.find_anew(host, port)
        return Found(_with_port(entry.infos, port), False)

    def has(self, host: str, address: str) -> bool:
        """Return whether a name has an address, as far as is known."""
        entry = self._good(host)
        return entry is not None and any(info[4][0] == address for info in entry.infos)

    async def find_anew(self, host: str, port: int) -> Found:
        """Return the addresses of a name as they are now.

        Where the resolver cannot tell, or takes its time, it is what they were a moment ago.
        """
        search = self._search(host)
        entry = self._known.get(host)
        now = self._loop.time()
        if entry is None or now - entry.since >= _LONGEST:
            # Whoever stops waiting does not take the answer from the others.
            return Found(_with_port(await asyncio.shield(search.task), port), True)
        await asyncio.wait([search.task], timeout=max(0.0, search.since + _PATIENCE - now))
        if _is_answered(search.task):
            return Found(_with_port(search.task.result(), port), True)
        return Found(_with_port(entry.infos, port), False)

    def close(self) -> None:
        """Give up what is being looked up."""
        for search in list(self._searches.values()):
            search.task.cancel()

    def _good(self, host: str) -> _Entry | None:
        """Return what is known and good; see to it in time that it stays so."""
        entry = self._known.get(host)
        if entry is None:
            return None
        age = self._loop.time() - entry.good_since
        if age >= GOOD_FOR:
            return None
        if age >= _ASK_AFTER:
            self._search(host)
        return entry

    def _search(self, host: str) -> _Search:
        """Look a name up; whoever asks meanwhile gets the same answer."""
        search = self._searches.get(host)
        if search is None:
            task = self._loop.create_task(self._look_up(host))
            search = self._searches[host] = _Search(task, self._loop.time())
            task.add_done_callback(lambda done: self._finish(host, done))
        return search

    def _finish(self, host: str, task: "asyncio.Task[list[AddressInfo]]") -> None:
        del self._searches[host]
        if task.cancelled():
            return
        now = self._loop.time()
        # To ask for the exception is also to say that somebody has seen it.
        if task.exception() is None:
            self._keep(host, _Entry(task.result(), now, now))
            return
        entry = self._known.pop(host, None)
        if entry is not None and not _is_answered(task) and now - entry.since < _LONGEST:
            self._known[host] = entry._replace(good_since=now)

    def _keep(self, host: str, entry: _Entry) -> None:
        self._known.pop(host, None)
        if len(self._known) >= _MOST:
            # The one that has not been asked about for the longest time.
            del self._known[next(iter(self._known))]
        self._known[host] = entry


def _is_answered(task: "asyncio.Task[list[AddressInfo]]") -> bool:
    """Return whether a search is over and has told something, were it that there is no name."""
    if not task.done() or task.cancelled():
        return False
    error = task.exception()
    return error is None or is_unknown(error)


def _with_port(infos: list[AddressInfo], port: int) -> list[AddressInfo]:
    return [
        (family, kind, protocol, name, (address[0], port, *address[2:]))
        for family, kind, protocol, name, address in infos
    ]
