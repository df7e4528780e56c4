"""Zones of IPv6 addresses (RFC 4007): between the text fe80::1%eth0 and the addresses of sockets.

A link-local address is valid on one network interface only, which its zone names. Sockets need the
interface's number, and omit the zone from the address that they are bound to.
"""

import errno
import os
import socket
from typing import Any


def to_sockaddr(host: str, port: int) -> tuple[Any, ...]:
    """Return the address to bind or connect to; raise OSError where there is no such interface."""
    address, _, zone = host.partition("%")
    return (address, port, 0, interface_index(zone)) if zone else (host, port)


def from_sockaddr(address: tuple[Any, ...]) -> str:
    """Return the host of an IPv4 or IPv6 socket's address, with its zone if it has one."""
    host = str(address[0]).partition("%")[0]
    return f"{host}%{_interface_name(address[3])}" if len(address) > 2 and address[3] else host


def interface_index(zone: str) -> int:
    """Return the number of an interface, given its name or number; raise OSError."""
    try:
        return socket.if_nametoindex(zone)
    except OSError:
        if zone.isascii() and zone.isdigit():
            return int(zone)
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV)) from None


def _interface_name(index: int) -> str:
    try:
        return socket.if_indextoname(index)
    except OSError:
        # The interface is gone, or has moved to another namespace.
        return str(index)
