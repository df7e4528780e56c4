"""Listening sockets for addresses and descriptors. Does not know the protocol on them.

An address that a wildcard on the same port covers is not bound again. Several workers get one
socket each for an address where the kernel balances connections (SO_REUSEPORT). `unix_socket` binds
paths, `inherited` checks descriptors.
"""

import errno
import ipaddress
import os
import socket
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final

from cmux_proxy.config.address import IPV4_WILDCARD, IPV6_WILDCARD, Address
from cmux_proxy.config.proxy_config import Config
from cmux_proxy.config.values import plain_address
from cmux_proxy.errors import ListenError
from cmux_proxy.net.ipv6_zone import from_sockaddr, to_sockaddr
from cmux_proxy.net.socket_options import LISTEN_BACKLOG, reuse_address, share_port, tune
from cmux_proxy.server.inherited import adopt_descriptor
from cmux_proxy.server.unix_socket import listen_unix

# Linux balances connections over the sockets that share an address; macOS uses one of them.
_BALANCES_REUSEPORT: Final = sys.platform.startswith("linux")
_IN_USE: Final = "the address is in use; `cmux-proxy ports` shows by whom"
_PATH_IN_USE: Final = "another program listens there"


def distinct_addresses(addresses: Sequence[Address], dual_stack: bool) -> list[Address]:
    """Return the addresses to bind in order, without duplicates and those that a wildcard covers.

    `dual_stack` is whether [::] accepts IPv4 connections too. Port 0 is never covered, because each
    socket gets a different port.
    """
    wildcards = {
        address.port
        for address in addresses
        if address.host == IPV6_WILDCARD and dual_stack and address.port != 0
    }
    distinct: list[Address] = []
    for address in addresses:
        is_v6 = ":" in address.host
        if address in distinct:
            continue
        if address.port and address.host != IPV6_WILDCARD:
            if not is_v6 and address.port in wildcards:
                continue
            wildcard = Address(IPV6_WILDCARD if is_v6 else IPV4_WILDCARD, address.port)
            if address != wildcard and wildcard in addresses:
                continue
        distinct.append(address)
    return distinct


def is_dual_stack() -> bool:
    """Return whether a socket bound to [::] accepts IPv4 connections on this machine."""
    if not socket.has_ipv6:
        return False
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
            return _accepts_ipv4(sock)
    except OSError:
        return False


def _accepts_ipv4(sock: socket.socket) -> bool:
    return sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 0


def open_sockets(config: Config) -> list[socket.socket]:
    """Return the sockets of a configuration, inherited ones first; raise ListenError."""
    inherited = _adopt_descriptors(config.descriptors())
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


def adopt_sockets(sockets: Sequence[socket.socket]) -> Sequence[socket.socket]:
    """Set the proxy's options on sockets that other code has bound, and return them."""
    for sock in sockets:
        if sock.family != socket.AF_UNIX:
            tune(sock, bound_address(sock).host)
        sock.setblocking(False)
    return sockets


def open_worker_sockets(config: Config) -> list[list[socket.socket]]:
    """Return the sockets of a configuration for each worker; raise ListenError.

    On Linux each worker has its own socket for an IP address, and the kernel balances connections
    over them. On other systems all workers share one socket, as they always share Unix sockets and
    inherited ones: connections in the backlog of a worker's own socket would end with the worker.
    """
    inherited = _adopt_descriptors(config.descriptors())
    try:
        groups = bind_worker_sockets(config.addresses(), config.workers, config.unix_mode)
    except ListenError:
        _close(inherited)
        raise
    return [inherited + group for group in groups]


def bind_worker_sockets(
    addresses: Sequence[Address], workers: int, unix_mode: int | None = None
) -> list[list[socket.socket]]:
    """Return one bound socket per distinct address for each worker; raise ListenError."""
    first = bind(addresses, unix_mode)
    groups = [first]
    try:
        while len(groups) < workers:
            groups.append([])
            for sock in first:
                is_balanced = _BALANCES_REUSEPORT and sock.family != socket.AF_UNIX
                groups[-1].append(_bind_reuseport(sock) if is_balanced else sock)
    except ListenError:
        _close({sock for group in groups for sock in group})
        raise
    return groups


def _adopt_descriptors(descriptors: Sequence[int]) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    try:
        sockets.extend(map(adopt_descriptor, descriptors))
    except ListenError:
        _close(sockets)
        raise
    adopt_sockets(sockets)
    return sockets


def _close(sockets: Iterable[socket.socket]) -> None:
    for sock in sockets:
        sock.close()


def _bind_one(address: Address, unix_mode: int | None) -> socket.socket:
    if address.path:
        try:
            return listen_unix(address.path, unix_mode)
        except OSError as error:
            raise ListenError(str(address), _unix_reason(error)) from None
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        return _listen(family, to_sockaddr(address.host, address.port))
    except OSError as error:
        raise ListenError(str(address), _reason(error)) from None


def _bind_reuseport(first: socket.socket) -> socket.socket:
    """Return another socket on the address of one that listens.

    SO_REUSEPORT is set only after `first` listens, so that a socket of another program is a
    conflict.
    """
    try:
        share_port(first)
        return _listen(first.family, first.getsockname(), reuse_port=True)
    except OSError as error:
        raise ListenError(str(bound_address(first)), _reason(error)) from None


def _listen(family: int, name: tuple[Any, ...], reuse_port: bool = False) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        reuse_address(sock)
        if reuse_port:
            share_port(sock)
        tune(sock, name[0])
        sock.setblocking(False)
        sock.bind(name)
        sock.listen(LISTEN_BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def _unix_reason(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return _PATH_IN_USE
    if error.errno == errno.EEXIST:
        return "the file there is not a socket"
    return os.strerror(error.errno) if error.errno else str(error)


def _reason(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return _IN_USE
    if error.errno == errno.EACCES:
        return "permission denied; ports below 1024 need privileges"
    if error.errno == errno.EADDRNOTAVAIL:
        return "this machine does not have the address"
    if error.errno == errno.ENODEV:
        return "there is no such network interface; `ip link` lists them"
    return os.strerror(error.errno) if error.errno else str(error)


def bound_address(sock: socket.socket) -> Address:
    """Return the address that a socket is bound to, with its actual port."""
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        return Address("", 0, _format_unix_name(name))
    return Address(str(ipaddress.ip_address(from_sockaddr(name))), name[1])


def _unmap(host: str) -> str:
    """Return the IPv4 address of a mapped IPv6 address, any other address unchanged."""
    return host if "%" in host else str(plain_address(host))


def _format_unix_name(name: str | bytes) -> str:
    """Return the name of a Unix socket; "@" stands for the zero byte of an abstract name."""
    text = os.fsdecode(name)
    return "@" + text[1:] if text.startswith("\0") else text or "@"


def reachable_addresses(sockets: Sequence[socket.socket]) -> list[Address]:
    """Return all IP addresses at which sockets are reachable; some accept IPv4 and IPv6."""
    reachable: list[Address] = []
    for sock in sockets:
        if sock.family == socket.AF_UNIX:
            continue
        address = bound_address(sock)
        reachable.append(Address(_unmap(address.host), address.port))
        if address.host == IPV6_WILDCARD and _accepts_ipv4(sock):
            reachable.append(Address(IPV4_WILDCARD, address.port))
    return reachable
