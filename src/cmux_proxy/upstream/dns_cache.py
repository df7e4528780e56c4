"""The addresses of names: looked up, cached for a moment, and refreshed while they are in use.

The system's resolver does not report how long a result is valid, so it is valid for five seconds. A
name that is in use is looked up again before that, in the background, so that no request waits for
it. Where the resolver fails for the moment, its last result stays valid for longer.

A name server that does not respond blocks a look-up for seconds, so few run at a time and the
others wait: in a queue that is bounded, and only as long as a request waits for them. Names that
are in the cache have separate slots.
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

MAX_AGE: Final = 5.0
# A name that is used after this many seconds is looked up again.
_REFRESH_AFTER: Final = MAX_AGE / 2
# How many seconds a request waits for a look-up where an older result would do.
_REFRESH_TIMEOUT: Final = 0.5
# A result that is older than this is not used any more.
_MAX_STALE_AGE: Final = 60.0
_MAX_NAMES: Final = 1024


class LookUpLimits(NamedTuple):
    """How many look-ups run at a time, how many of them for new names, and how many may wait."""

    running: int
    running_new: int
    waiting: int


LIMITS: Final = LookUpLimits(running=32, running_new=24, waiting=1024)

# The resolver knows that there is no such name, or that it has no address.
_NO_ADDRESS: Final = frozenset(
    getattr(socket, name)
    for name in ("EAI_NONAME", "EAI_NODATA", "EAI_ADDRFAMILY")
    if hasattr(socket, name)
)

LookUpName = Callable[[str], Coroutine[Any, Any, list[AddressInfo]]]


class ResolvedName(NamedTuple):
    """The addresses of a name; `is_fresh` if they have just been looked up."""

    infos: list[AddressInfo]
    is_fresh: bool


class _Entry(NamedTuple):
    """A result, when it came, and since when it has been valid."""

    infos: list[AddressInfo]
    since: float
    valid_since: float


class _LookUp:
    """A look-up, and how many requests wait for it."""

    __slots__ = ("has_started", "since", "task", "waiting")

    def __init__(self, since: float) -> None:
        self.since = since
        self.has_started = False
        self.waiting = 0
        self.task: asyncio.Task[list[AddressInfo]]


@lru_cache(_MAX_NAMES)
def is_name(host: str) -> bool:
    """Return whether a host has to be looked up."""
    try:
        ip_address(host)
    except ValueError:
        return True
    return False


def resolved_address(host: str, sock: socket.socket) -> str | None:
    """Return the address to which a name was resolved; None where the host is not a name."""
    if not is_name(host):
        return None
    try:
        return str(sock.getpeername()[0])
    except OSError:
        # The connection has just been reset, so it belongs to no name any more.
        return ""


def is_unknown(error: BaseException) -> bool:
    """Return whether a look-up has shown that a name has no address, and has not just failed."""
    return isinstance(error, UnicodeError) or (
        isinstance(error, socket.gaierror) and error.errno in _NO_ADDRESS
    )


class DnsCache:
    """The names that one event loop has looked up with `look_up`."""

    def __init__(self, loop: Loop, look_up: LookUpName, limits: LookUpLimits | None = None) -> None:
        limits = limits or LIMITS
        self._loop = asyncio_loop(loop)
        self._look_up_name = look_up
        self._limits = limits
        self._entries: dict[str, _Entry] = {}
        self._look_ups: dict[str, _LookUp] = {}
        self._slots = asyncio.Semaphore(limits.running)
        self._slots_of_new = asyncio.Semaphore(limits.running_new)
        # How many look-ups have not started.
        self._queued = 0

    async def resolve(self, host: str, port: int) -> ResolvedName:
        """Return the addresses of a name; raise OSError or UnicodeError if it has none.

        Raise UpstreamUnavailable where too many names are being looked up.
        """
        entry = self._valid_entry(host)
        if entry is None:
            return await self.refresh(host, port)
        return ResolvedName(_with_port(entry.infos, port), False)

    def has_address(self, host: str, address: str) -> bool:
        """Return whether a name has an address, as far as the cache knows."""
        entry = self._valid_entry(host)
        return entry is not None and any(info[4][0] == address for info in entry.infos)

    async def refresh(self, host: str, port: int) -> ResolvedName:
        """Return the addresses of a name as they are now.

        Where the resolver fails or is slow, return the last ones.
        """
        look_up = self._look_up(host)
        look_up.waiting += 1
        try:
            return await self._wait_for(look_up, host, port)
        finally:
            look_up.waiting -= 1
            if not look_up.waiting:
                self._abandon(look_up, host)

    async def _wait_for(self, look_up: _LookUp, host: str, port: int) -> ResolvedName:
        entry = self._entries.get(host)
        now = self._loop.time()
        if entry is None or now - entry.since >= _MAX_STALE_AGE:
            # A request that stops waiting does not cancel the look-up for the others.
            return ResolvedName(_with_port(await asyncio.shield(look_up.task), port), True)
        timeout = max(0.0, look_up.since + _REFRESH_TIMEOUT - now)
        await asyncio.wait([look_up.task], timeout=timeout)
        if _is_conclusive(look_up.task):
            return ResolvedName(_with_port(look_up.task.result(), port), True)
        return ResolvedName(_with_port(entry.infos, port), False)

    def close(self) -> None:
        """Cancel all look-ups."""
        for look_up in list(self._look_ups.values()):
            look_up.task.cancel()

    def _valid_entry(self, host: str) -> _Entry | None:
        """Return a valid entry; refresh it in the background before it expires."""
        entry = self._entries.get(host)
        age = MAX_AGE if entry is None else self._loop.time() - entry.valid_since
        if age >= MAX_AGE:
            return None
        if age >= _REFRESH_AFTER:
            self._look_up(host)
        return entry

    def _look_up(self, host: str) -> _LookUp:
        """Look a name up, or return the look-up that is under way for it."""
        look_up = self._look_ups.get(host)
        if look_up is None:
            is_known = host in self._entries
            if not is_known and self._queued >= self._limits.waiting:
                text = "too many names are being looked up; try again soon"
                raise UpstreamUnavailable(UnavailableReason.RESOURCE_LIMIT, text, True)
            look_up = self._look_ups[host] = _LookUp(self._loop.time())
            self._queued += 1
            look_up.task = self._loop.create_task(self._run(look_up, host, is_known))
            look_up.task.add_done_callback(partial(self._finish, look_up, host))
        return look_up

    async def _run(self, look_up: _LookUp, host: str, is_known: bool) -> list[AddressInfo]:
        """Look a name up when it has a slot."""
        if not is_known:
            async with self._slots_of_new:
                return await self._run(look_up, host, True)
        async with self._slots:
            look_up.has_started = True
            self._queued -= 1
            return await self._look_up_name(host)

    def _abandon(self, look_up: _LookUp, host: str) -> None:
        """Cancel a look-up for which no request waits, unless it has started or is a refresh."""
        if not look_up.has_started and host not in self._entries:
            look_up.task.cancel()
            if self._look_ups.get(host) is look_up:
                # The next request must not wait for the one that is cancelled.
                del self._look_ups[host]

    def _finish(self, look_up: _LookUp, host: str, task: "asyncio.Task[list[AddressInfo]]") -> None:
        if self._look_ups.get(host) is look_up:
            del self._look_ups[host]
        if not look_up.has_started:
            self._queued -= 1
        if task.cancelled():
            return
        now = self._loop.time()
        # Reading the exception also marks it as handled.
        if task.exception() is None:
            self._store(host, _Entry(task.result(), now, now))
            return
        entry = self._entries.pop(host, None)
        if entry is not None and not _is_conclusive(task) and now - entry.since < _MAX_STALE_AGE:
            self._entries[host] = entry._replace(valid_since=now)

    def _store(self, host: str, entry: _Entry) -> None:
        self._entries.pop(host, None)
        if len(self._entries) >= _MAX_NAMES:
            # The entry that was looked up the longest time ago.
            del self._entries[next(iter(self._entries))]
        self._entries[host] = entry


def _is_conclusive(task: "asyncio.Task[list[AddressInfo]]") -> bool:
    """Return whether a look-up has ended with addresses, or because the name has none."""
    if not task.done() or task.cancelled():
        return False
    error = task.exception()
    return error is None or is_unknown(error)


def _with_port(infos: list[AddressInfo], port: int) -> list[AddressInfo]:
    return [
        (family, type_, protocol, name, (address[0], port, *address[2:]))
        for family, type_, protocol, name, address in infos
    ]
