"""Addresses -> bound sockets. Knows nothing of what is spoken on them.

An address that a wildcard on the same port covers is not bound again. Accepting can pause, so that
connections wait in the kernel's queue while this process has no room for them.
"""

import asyncio
import errno
import ipaddress
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from cmux_proxy.config import Address
from cmux_proxy.errors import ListenError
from cmux_proxy.upstream.tcp import tune

# A burst of a thousand connections must find room in the queue.
BACKLOG: Final = 4096


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


def _bind_one(address: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise ListenError(str(address), _reason(error)) from None
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        tune(sock)
        sock.setblocking(False)
        sock.bind((address.host, address.port))
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise ListenError(str(address), _reason(error)) from None
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
        loop: asyncio.AbstractEventLoop,
        sockets: Sequence[socket.socket],
        factory: Callable[[], asyncio.BaseProtocol],
    ) -> None:
        self._loop = loop
        self._sockets = list(sockets)
        self._factory = factory
        self._servers: list[asyncio.AbstractServer] = []
        self._is_wanted = False
        self._opening: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Accept from now on."""
        self._is_wanted = True
        await self._open()

    async def _open(self) -> None:
        # The servers get duplicates: closing one stops accepting, and the queue lives on.
        for sock in self._sockets:
            server = await self._loop.create_server(self._factory, sock=sock.dup(), backlog=BACKLOG)
            self._servers.append(server)
        if not self._is_wanted:
            self._close_servers()

    def pause(self) -> None:
        """Leave new connections in the kernel's queue; idempotent."""
        self._is_wanted = False
        self._close_servers()

    def resume(self) -> None:
        """Accept again; idempotent."""
        if self._is_wanted or not self._sockets:
            return
        self._is_wanted = True
        self._opening = self._loop.create_task(self._open())

    def close(self) -> None:
        """Stop for good and free the addresses."""
        self._is_wanted = False
        self._close_servers()
        for sock in self._sockets:
            with suppress(OSError):
                sock.close()
        self._sockets.clear()

    def _close_servers(self) -> None:
        for server in self._servers:
            server.close()
        self._servers.clear()
