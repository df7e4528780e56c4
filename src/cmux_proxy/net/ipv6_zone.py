"""Zones of IPv6 addresses (RFC 4007): between the text fe80::1%eth0 and what sockets take and give.

A link-local address is good on one network interface only, which its zone names. Sockets want the
interface's number, and leave the zone out of the address that they are bound to.
"""

import errno
import os
import socket
from typing import Any


def to_sockaddr(host: str, port: int) -> tuple[Any, ...]:
    """Return what a socket binds or connects to; raise OSError where there is no such interface."""
    address, _, zone = host.partition("%")
    return (address, port, 0, index_of(zone)) if zone else (host, port)


def from_sockaddr(name: tuple[Any, ...]) -> str:
    """Return the host in the name of a socket of IPv4 or IPv6, with its zone if it has one."""
    host = str(name[0]).partition("%")[0]
    return f"{host}%{_interface(name[3])}" if len(name) > 2 and name[3] else host


def index_of(zone: str) -> int:
    """Return the number of an interface that is given by its name or number; raise OSError."""
    try:
        return socket.if_nametoindex(zone)
    except OSError:
        if zone.isascii() and zone.isdigit():
            return int(zone)
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV)) from None


def _interface(index: int) -> str:
    try:
        return socket.if_indextoname(index)
    except OSError:
        # It has gone, or has moved to another namespace.
        return str(index)
