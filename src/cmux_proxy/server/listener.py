"""Addresses -> bound sockets. Knows nothing of what is spoken on them.

An address that a wildcard on the same port covers is not bound again. Several workers get a socket
each for one address. Accepting can pause, so that connections wait in the kernel's queue while this
process has no room for them.
"""

import asyncio
import errno
import ipaddress
import os
import socket
import sys
from collections.abc import Sequence
from typing import Any, Final

from cmux_proxy.config import Address
from cmux_proxy.errors import ListenError
from cmux_proxy.server.accepting import Arrivals, acceptor
from cmux_proxy.server.descriptors import BACKLOG
from cmux_proxy.upstream.tcp import tune

_RETRY_AFTER: Final = 1.0
# Linux spreads connections over the sockets that share an address; macOS gives them all to one.
_SPREADS: Final = sys.platform.startswith("linux")


def distinct_addresses(addresses: Sequence[Address], dual_stack: bool) -> list[Address]:
    """Return what has to be bound: without duplicates and what a wildcard covers, in order.

    `dual_stack` says whether [::] takes IPv4 connections too. Port 0 is covered by nothing, since
    every socket gets a port of its own.
    """
    wildcards = {
        address.port
        for address in addresses
        if address.host == "::" and dual_stack and address.port != 0
    }
    distinct: list[Address] = []
    for address in addresses:
        is_v6 = ":" in address.host
        if address in distinct:
            continue
        if address.port and address.host != "::":
            if not is_v6 and address.port in wildcards:
                continue
            wildcard = Address("::" if is_v6 else "0.0.0.0", address.port)  # noqa: S104
            if address != wildcard and wildcard in addresses:
                continue
        distinct.append(address)
    return distinct


def is_dual_stack() -> bool:
    """Return whether a socket bound to [::] takes IPv4 connections on this machine."""
    if not socket.has_ipv6:
        return False
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
            return sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 0
    except OSError:
        return False


def bind(addresses: Sequence[Address]) -> list[socket.socket]:
    """Return one bound socket for each distinct address; raise ListenError."""
    bound: list[socket.socket] = []
    try:
        bound.extend(map(_bind_one, distinct_addresses(addresses, is_dual_stack())))
    except ListenError:
        for sock in bound:
            sock.close()
        raise
    return bound


def adopt(sockets: Sequence[socket.socket]) -> Sequence[socket.socket]:
    """Give sockets that somebody else has bound the options of our own, and return them."""
    for sock in sockets:
        tune(sock, bound_address(sock).host)
        sock.setblocking(False)
    return sockets


def bind_shared(addresses: Sequence[Address], workers: int) -> list[list[socket.socket]]:
    """Return for each worker one bound socket per distinct address; raise ListenError.

    On Linux the sockets are its own, and the kernel spreads connections over those of an address;
    elsewhere all workers have the same ones.
    """
    first = bind(addresses)
    groups = [first]
    try:
        while len(groups) < workers:
            groups.append([])
            for sock in first:
                groups[-1].append(_join(sock) if _SPREADS else sock)
    except ListenError:
        for sock in {sock for group in groups for sock in group}:
            sock.close()
        raise
    return groups


def _bind_one(address: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        return _listen(family, (address.host, address.port))
    except OSError as error:
        raise ListenError(str(address), _reason(error)) from None


def _join(first: socket.socket) -> socket.socket:
    """Return another socket on the address of one that listens.

    Sharing is allowed only once `first` listens: until then anybody else's socket is a conflict.
    """
    try:
        first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        return _listen(first.family, first.getsockname(), shares=True)
    except OSError as error:
        raise ListenError(str(bound_address(first)), _reason(error)) from None


def _listen(family: int, place: tuple[Any, ...], shares: bool = False) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shares:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        tune(sock, place[0])
        sock.setblocking(False)
        sock.bind(place)
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def _reason(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "the address is in use by another program"
    if error.errno == errno.EACCES:
        return "permission denied; ports below 1024 need privileges"
    if error.errno == errno.EADDRNOTAVAIL:
        return "the address is not one of this machine's"
    return os.strerror(error.errno) if error.errno else str(error)


def bound_address(sock: socket.socket) -> Address:
    """Return the address a socket is bound to, with its real port."""
    host, port = sock.getsockname()[:2]
    return Address(str(ipaddress.ip_address(host.partition("%")[0])), port)


class Listener:
    """Accepts connections on bound sockets; owns them."""

    def __init__(
        self,
        arrivals: Arrivals,
        sockets: Sequence[socket.socket],
        bursts: bool,
    ) -> None:
        self._loop = arrivals.loop
        self._sockets = list(sockets)
        self._acceptors = [acceptor(arrivals, sock, bursts) for sock in sockets]
        self._is_accepting = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._retry: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Accept from now on."""
        self._is_accepting = True
        for each in self._acceptors:
            await each.start()

    def pause(self) -> None:
        """Leave new connections in the kernel's queue; idempotent."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self._is_accepting:
            self._is_accepting = False
            for each in self._acceptors:
                each.stop()

    def resume(self) -> None:
        """Accept again; idempotent."""
        if not self._is_accepting and self._sockets:
            self._is_accepting = True
            task = self._loop.create_task(self._resume())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _resume(self) -> None:
        try:
            for each in self._acceptors:
                if self._is_accepting:
                    await each.start()
        except OSError:
            # There is no descriptor left to accept with: try again when some may be free.
            self.pause()
            self._retry = self._loop.call_later(_RETRY_AFTER, self.resume)

    def finish(self) -> None:
        """Stop for good and free the addresses; who has connected by now is accepted still."""
        if self._is_accepting:
            for each in self._acceptors:
                each.finish()
        self.close()

    def close(self) -> None:
        """Stop for good and free the addresses."""
        self.pause()
        for sock in self._sockets:
            sock.close()
        self._sockets.clear()
