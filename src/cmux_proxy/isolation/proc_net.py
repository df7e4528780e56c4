"""The listening TCP sockets of a network namespace, read from Linux's /proc/PID/net.

Opens no connection. Does not know the processes that own the sockets.
"""

import socket
import sys
from collections.abc import Iterator
from typing import Final, NamedTuple

_PROC: Final = "/proc"
_TABLES: Final = ((socket.AF_INET, "tcp"), (socket.AF_INET6, "tcp6"))
_LISTEN_STATE: Final = "0A"
_ADDRESS_COLUMN: Final = 1
_STATE_COLUMN: Final = 3
_INODE_COLUMN: Final = 9
_MAPPED_IPV4: Final = "::ffff:"
# Linux lists listening sockets before all others, of which there may be very many. Emulations of
# Linux may mix them, so reading goes on for this number of other sockets.
MAX_OTHER_SOCKETS: Final = 1000


class ListeningSocket(NamedTuple):
    """A listening socket; its inode identifies it."""

    port: int
    address: str
    inode: int


def read_listening_sockets(pid: int | None = None, proc: str = _PROC) -> list[ListeningSocket]:
    """Return the listening sockets of a process's namespace, by default of this one's.

    `proc` is where procfs is mounted. Raises OSError where there is no such process, or no procfs.
    """
    folder = f"{proc}/{'self' if pid is None else pid}/net"
    sockets: list[ListeningSocket] = []
    for family, name in _TABLES:
        try:
            with open(f"{folder}/{name}", encoding="ascii") as table:
                next(table, None)
                sockets.extend(_parse_table(family, table))
        except FileNotFoundError:
            if family == socket.AF_INET:
                raise
            # There is no IPv6.
    return sockets


def read_listening_ports(proc: str = _PROC) -> list[int]:
    """Return the listening ports of this process's namespace, sorted and without duplicates."""
    return sorted({sock.port for sock in read_listening_sockets(proc=proc)})


def unmap_ipv4(address: str) -> str:
    """Return the IPv4 address of an IPv4-mapped IPv6 address, any other address unchanged.

    An IPv6 socket that is bound to a mapped address accepts IPv4 connections to that address.
    """
    return address.removeprefix(_MAPPED_IPV4)


def _parse_table(family: socket.AddressFamily, lines: Iterator[str]) -> Iterator[ListeningSocket]:
    others = 0
    for line in lines:
        row = line.split()
        if row[_STATE_COLUMN] == _LISTEN_STATE:
            # The kernel writes address and port in hexadecimal, as in 0100007F:0BB8.
            digits, _, port = row[_ADDRESS_COLUMN].partition(":")
            address = _parse_address(family, digits)
            yield ListeningSocket(int(port, 16), address, int(row[_INODE_COLUMN]))
        else:
            others += 1
            if others > MAX_OTHER_SOCKETS:
                return


def _parse_address(family: socket.AddressFamily, digits: str) -> str:
    """Return an address in its usual form, from 32-bit words in this machine's byte order."""
    words = [int(digits[at : at + 8], 16) for at in range(0, len(digits), 8)]
    packed = b"".join(word.to_bytes(4, sys.byteorder) for word in words)
    return unmap_ipv4(socket.inet_ntop(family, packed))
