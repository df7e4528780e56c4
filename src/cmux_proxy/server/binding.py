"""Addresses and descriptors -> sockets that listen. Knows nothing of what is spoken on them.

An address that a wildcard on the same port covers is not bound again. Several workers get a socket
each for one address, where the kernel can spread connections over them. Paths are bound in
`unix_socket`, descriptors are looked at in `inherited`.
"""

import errno
import ipaddress
import os
import socket
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final

from cmux_proxy.config.proxy_config import Address, Config
from cmux_proxy.config.values import plain_address
from cmux_proxy.errors import ListenError
from cmux_proxy.net.ipv6_zone import from_sockaddr, to_sockaddr
from cmux_proxy.net.socket_options import tune
from cmux_proxy.server.connection_limits import BACKLOG
from cmux_proxy.server.inherited import take_over
from cmux_proxy.server.unix_socket import listen_at

# Linux spreads connections over the sockets that share an address; macOS gives them all to one.
_SPREADS: Final = sys.platform.startswith("linux")
_IN_USE: Final = "the address is in use; `cmux-proxy ports` shows by whom"
_PATH_IN_USE: Final = "another program listens there"


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
            return _takes_ipv4(sock)
    except OSError:
        return False


def _takes_ipv4(sock: socket.socket) -> bool:
    return sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 0


def open_sockets(config: Config) -> list[socket.socket]:
    """Return the sockets that a configuration names, inherited ones first; raise ListenError."""
    inherited = _inherit(config.descriptors())
    try:
        return inherited + bind(config.addresses(), config.unix_mode)
    except ListenError:
        _close(inherited)
        raise


def bind(addresses: Sequence[Address], unix_mode: int | None = None) -> list[socket.socket]:
    """Return one bound socket for each distinct address; raise ListenError."""
    bound: list[socket.socket] = []
    try:
        distinct = distinct_addresses(addresses, is_dual_stack())
        bound.extend(_bind_one(address, unix_mode) for address in distinct)
    except ListenError:
        _close(bound)
        raise
    return bound


def adopt(sockets: Sequence[socket.socket]) -> Sequence[socket.socket]:
    """Give sockets that somebody else has bound the options of our own, and return them."""
    for sock in sockets:
        if sock.family != socket.AF_UNIX:
            tune(sock, bound_address(sock).host)
        sock.setblocking(False)
    return sockets


def open_shared(config: Config) -> list[list[socket.socket]]:
    """Return for each worker the sockets that a configuration names; raise ListenError.

    On Linux those of addresses are its own, and the kernel spreads connections over them. Elsewhere
    all workers have the same ones, as always for Unix sockets and inherited ones: another socket
    would take connections to its end that this one, which outlives the process, could keep.
    """
    inherited = _inherit(config.descriptors())
    try:
        groups = bind_shared(config.addresses(), config.workers, config.unix_mode)
    except ListenError:
        _close(inherited)
        raise
    return [inherited + group for group in groups]


def bind_shared(
    addresses: Sequence[Address], workers: int, unix_mode: int | None = None
) -> list[list[socket.socket]]:
    """Return for each worker one bound socket per distinct address; raise ListenError."""
    first = bind(addresses, unix_mode)
    groups = [first]
    try:
        while len(groups) < workers:
            groups.append([])
            for sock in first:
                spreads = _SPREADS and sock.family != socket.AF_UNIX
                groups[-1].append(_join(sock) if spreads else sock)
    except ListenError:
        _close({sock for group in groups for sock in group})
        raise
    return groups


def _inherit(descriptors: Sequence[int]) -> list[socket.socket]:
    taken: list[socket.socket] = []
    try:
        taken.extend(map(take_over, descriptors))
    except ListenError:
        _close(taken)
        raise
    adopt(taken)
    return taken


def _close(sockets: Iterable[socket.socket]) -> None:
    for sock in sockets:
        sock.close()


def _bind_one(address: Address, unix_mode: int | None) -> socket.socket:
    if address.path:
        try:
            return listen_at(address.path, unix_mode)
        except OSError as error:
            raise ListenError(str(address), _path_reason(error)) from None
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        return _listen(family, to_sockaddr(address.host, address.port))
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


def _path_reason(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return _PATH_IN_USE
    if error.errno == errno.EEXIST:
        return "there is a file that is no socket"
    return os.strerror(error.errno) if error.errno else str(error)


def _reason(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return _IN_USE
    if error.errno == errno.EACCES:
        return "permission denied; ports below 1024 need privileges"
    if error.errno == errno.EADDRNOTAVAIL:
        return "the address is not one of this machine's"
    if error.errno == errno.ENODEV:
        return "there is no such network interface; `ip link` shows those that are there"
    return os.strerror(error.errno) if error.errno else str(error)


def bound_address(sock: socket.socket) -> Address:
    """Return the address a socket is bound to, with its real port."""
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        return Address("", 0, _path(name))
    return Address(str(ipaddress.ip_address(from_sockaddr(name))), name[1])


def _plain(host: str) -> str:
    """Return an address of IPv4 that an IPv6 socket shows as one of IPv4, any other as it is."""
    return host if "%" in host else str(plain_address(host))


def _path(name: str | bytes) -> str:
    """Return the name of a Unix socket; "@" stands for the zero byte of one without a file."""
    text = os.fsdecode(name)
    return "@" + text[1:] if text.startswith("\0") else text or "@"


def reached_addresses(sockets: Sequence[socket.socket]) -> list[Address]:
    """Return all IP addresses at which sockets can be reached: some take IPv4 and IPv6."""
    reached: list[Address] = []
    for sock in sockets:
        if sock.family == socket.AF_UNIX:
            continue
        address = bound_address(sock)
        reached.append(Address(_plain(address.host), address.port))
        if address.host == "::" and _takes_ipv4(sock):
            reached.append(Address("0.0.0.0", address.port))  # noqa: S104
    return reached
