"""Which TCP sockets are listened on in a network namespace, as Linux tells it.

Nothing is connected to. Of a namespace no more is needed than the id of a process in it.
"""

import socket
import sys
from collections.abc import Iterator
from typing import Final, NamedTuple

_PROC: Final = "/proc"
_TABLES: Final = ((socket.AF_INET, "tcp"), (socket.AF_INET6, "tcp6"))
_LISTENS: Final = "0A"
_ADDRESS_COLUMN: Final = 1
_STATE_COLUMN: Final = 3
_INODE_COLUMN: Final = 9
_MAPPED: Final = "::ffff:"
# Linux lists the sockets that listen before all others, of which there may be very many; whoever
# plays Linux may not, and so many are passed over.
_MOST_OTHERS: Final = 1000


class Socket(NamedTuple):
    """A socket that is listened on; its inode tells it from all others."""

    port: int
    address: str
    inode: int


def listening_sockets(pid: int | None = None) -> list[Socket]:
    """Return the sockets of this process's namespace, or of another process's.

    Raises OSError where there is no such process, or no /proc.
    """
    folder = f"{_PROC}/{'self' if pid is None else pid}/net"
    found: list[Socket] = []
    for family, name in _TABLES:
        try:
            with open(f"{folder}/{name}", encoding="ascii") as table:
                next(table, None)
                found.extend(_listening(family, table))
        except FileNotFoundError:
            if family == socket.AF_INET:
                raise
            # There is no IPv6.
    return found


def listening_ports() -> list[int]:
    """Return the ports of this process's namespace, each once and in order."""
    return sorted({each.port for each in listening_sockets()})


def _listening(family: socket.AddressFamily, lines: Iterator[str]) -> Iterator[Socket]:
    others = 0
    for line in lines:
        row = line.split()
        if row[_STATE_COLUMN] == _LISTENS:
            # The kernel writes address and port in hexadecimal, as in 0100007F:0BB8.
            address, _, port = row[_ADDRESS_COLUMN].partition(":")
            yield Socket(int(port, 16), _readable(family, address), int(row[_INODE_COLUMN]))
        else:
            others += 1
            if others > _MOST_OTHERS:
                return


def _readable(family: socket.AddressFamily, digits: str) -> str:
    """Return the usual form of an address; it is given in words of 32 bits of this machine."""
    words = [int(digits[at : at + 8], 16) for at in range(0, len(digits), 8)]
    packed = b"".join(word.to_bytes(4, sys.byteorder) for word in words)
    # An IPv6 socket that is bound to an address of IPv4 is reached there.
    return socket.inet_ntop(family, packed).removeprefix(_MAPPED)
