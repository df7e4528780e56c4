"""What listens in this namespace, asked of the kernel alone: fit for an event loop.

The tables below /proc cost milliseconds, since everything that is connected is walked through. The
kernel's own answer (sock_diag(7)) has the listening sockets and nothing else, and no processes.
"""

import socket
import struct
from collections.abc import Iterator
from typing import Final

from cmux_proxy.isolation.proc_net import Socket

# <linux/netlink.h>, <linux/sock_diag.h>, <linux/inet_diag.h>
_SOCK_DIAG: Final = 4
_BY_FAMILY: Final = 20
_REQUEST_DUMP: Final = 0x301
_DONE: Final = 3
_LISTENS: Final = 1 << 10
_HEADER: Final = struct.Struct("=IHHII")
_QUESTION: Final = struct.Struct("=BBBxI48x")
# Of an answer: the family, the port and the address, which are in network order; the inode.
_ANSWER: Final = struct.Struct("!BxxxHxx16s")
_INODE: Final = struct.Struct("=I")
_INODE_AT: Final = 68
_LARGEST: Final = 64 * 1024
_FAMILIES: Final = (socket.AF_INET, socket.AF_INET6)


def listening_now() -> list[Socket]:
    """Return the sockets that listen; raise OSError where the kernel does not tell."""
    # Not there but on Linux.
    family = getattr(socket, "AF_NETLINK", None)
    if family is None:
        raise OSError("there is no netlink")
    with socket.socket(family, socket.SOCK_RAW, _SOCK_DIAG) as asked:
        return [found for kind in _FAMILIES for found in _ask(asked, kind)]


def _ask(asked: socket.socket, family: int) -> Iterator[Socket]:
    question = _QUESTION.pack(family, socket.IPPROTO_TCP, 0, _LISTENS)
    head = _HEADER.pack(_HEADER.size + len(question), _BY_FAMILY, _REQUEST_DUMP, 0, 0)
    asked.send(head + question)
    while True:
        data = asked.recv(_LARGEST)
        at = 0
        while at < len(data):
            size, kind, _flags, _number, _port = _HEADER.unpack_from(data, at)
            if kind == _DONE:
                return
            if kind != _BY_FAMILY:
                raise OSError("the kernel does not tell what listens")
            yield _read(data, at + _HEADER.size)
            at += (size + 3) & ~3


def _read(data: bytes, at: int) -> Socket:
    family, port, packed = _ANSWER.unpack_from(data, at)
    (inode,) = _INODE.unpack_from(data, at + _INODE_AT)
    width = 4 if family == socket.AF_INET else 16
    # An IPv6 socket that is bound to an address of IPv4 is reached there.
    address = socket.inet_ntop(family, packed[:width]).removeprefix("::ffff:")
    return Socket(port, address, inode)
