"""The addresses of names: looked up, kept for a moment, looked up again while they are in use.

The system's resolver does not tell for how long an answer is good, so it is taken for good for five
seconds. A name that is in use is looked up again before that, in the background, so that nobody
waits for it. Where the resolver does not know for the moment, what it said last is good for longer.

A name server that does not answer blocks a search for seconds, so few run at a time and the others
wait: in a queue that is bounded, and only as long as a request waits for them. Names that are known
already have places of their own.
"""

import asyncio
import socket
from collections.abc import Callable, Coroutine
from functools import lru_cache, partial
from ipaddress import ip_address
from typing import Any, Final, NamedTuple

from cmux_proxy.errors import UnavailableReason, UpstreamUnavailable
from cmux_proxy.net.asyncio_backend import asyncio_loop
from cmux_proxy.net.happy_eyeballs import AddressInfo
from cmux_proxy.net.stream import Loop

GOOD_FOR: Final = 5.0
# A name that is used after so many seconds is looked up again.
_ASK_AFTER: Final = GOOD_FOR / 2
# So long a search is waited for where an older answer would do.
_PATIENCE: Final = 0.5
# An older answer than this does not do any more.
_LONGEST: Final = 60.0
_MOST: Final = 1024
# So many searches run at a time, so many of them for new names; so many more may wait.
MOST_RUNNING: Final = 32
MOST_RUNNING_NEW: Final = 24
MOST_WAITING: Final = 1024

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


class _Search:
    """A search, and how many requests wait for it."""

    __slots__ = ("has_begun", "since", "task", "waiting")

    def __init__(self, since: float) -> None:
        self.since = since
        self.has_begun = False
        self.waiting = 0
        self.task: asyncio.Task[list[AddressInfo]]


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


class DnsCache:
    """The names that one event loop has looked up, which is what `look_up` does."""

    def __init__(self, loop: Loop, look_up: LookUp) -> None:
        self._loop = asyncio_loop(loop)
        self._look_up = look_up
        self._known: dict[str, _Entry] = {}
        self._searches: dict[str, _Search] = {}
        self._places = asyncio.Semaphore(MOST_RUNNING)
        self._places_of_new = asyncio.Semaphore(MOST_RUNNING_NEW)
        # How many searches have not begun.
        self._queued = 0

    async def find(self, host: str, port: int) -> Found:
        """Return the addresses of a name; raise OSError or UnicodeError if it has none.

        Raise UpstreamUnavailable where too many names are looked up already.
        """
        entry = self._good(host)
        if entry is None:
            return await self.refresh(host, port)
        return Found(_with_port(entry.infos, port), False)

    def has(self, host: str, address: str) -> bool:
        """Return whether a name has an address, as far as is known."""
        entry = self._good(host)
        return entry is not None and any(info[4][0] == address for info in entry.infos)

    async def refresh(self, host: str, port: int) -> Found:
        """Return the addresses of a name as they are now.

        Where the resolver cannot tell, or takes its time, it is what they were a moment ago.
        """
        search = self._search(host)
        search.waiting += 1
        try:
            return await self._wait_for(search, host, port)
        finally:
            search.waiting -= 1
            if not search.waiting:
                self._leave(search, host)

    async def _wait_for(self, search: _Search, host: str, port: int) -> Found:
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
            is_known = host in self._known
            if not is_known and self._queued >= MOST_WAITING:
                text = "too many names are being looked up; try again soon"
                raise UpstreamUnavailable(UnavailableReason.RESOURCE_LIMIT, text, True)
            search = self._searches[host] = _Search(self._loop.time())
            self._queued += 1
            search.task = self._loop.create_task(self._run(search, host, is_known))
            search.task.add_done_callback(partial(self._finish, search, host))
        return search

    async def _run(self, search: _Search, host: str, is_known: bool) -> list[AddressInfo]:
        """Look a name up when it is its turn."""
        if not is_known:
            async with self._places_of_new:
                return await self._run(search, host, True)
        async with self._places:
            search.has_begun = True
            self._queued -= 1
            return await self._look_up(host)

    def _leave(self, search: _Search, host: str) -> None:
        """Give a search up that nobody waits for, unless it has begun or renews what is known."""
        if not search.has_begun and host not in self._known:
            search.task.cancel()
            if self._searches.get(host) is search:
                # Whoever asks next must not get what was given up.
                del self._searches[host]

    def _finish(self, search: _Search, host: str, task: "asyncio.Task[list[AddressInfo]]") -> None:
        if self._searches.get(host) is search:
            del self._searches[host]
        if not search.has_begun:
            self._queued -= 1
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
