"""Listening sockets of this network namespace, queried from the kernel with sock_diag(7).

Fast enough for an event loop: reading the tables below /proc takes milliseconds because the kernel
walks through all connections, while this query returns the listening sockets alone. Does not know
processes.
"""

import socket
import struct
from collections.abc import Iterator
from typing import Final

from cmux_proxy.isolation.proc_net import ListeningSocket, unmap_ipv4

# <linux/netlink.h>, <linux/sock_diag.h>, <linux/inet_diag.h>
SOCK_DIAG_BY_FAMILY: Final = 20
_NETLINK_SOCK_DIAG: Final = 4
_DUMP_REQUEST: Final = 0x301
_DONE: Final = 3
_LISTEN_STATE: Final = 1 << 10
_HEADER: Final = struct.Struct("=IHHII")
_QUERY: Final = struct.Struct("=BBBxI48x")
# Family, port and address, in network byte order.
_SOCKET: Final = struct.Struct("!BxxxHxx16s")
_INODE: Final = struct.Struct("=I")
_INODE_OFFSET: Final = 68
_MAX_RESPONSE_SIZE: Final = 64 * 1024
_FAMILIES: Final = (socket.AF_INET, socket.AF_INET6)


def query_listening_sockets() -> list[ListeningSocket]:
    """Return the listening sockets; raise OSError where the kernel does not list them."""
    with open_netlink() as netlink:
        return [sock for family in _FAMILIES for sock in _query_family(netlink, family)]


def open_netlink() -> socket.socket:
    """Return a socket for queries; raise OSError where there is no netlink."""
    family = getattr(socket, "AF_NETLINK", None)
    if family is None:
        # Only Linux has it.
        raise OSError("there is no netlink")
    return socket.socket(family, socket.SOCK_RAW, _NETLINK_SOCK_DIAG)


def pack_request(flags: int, body: bytes) -> bytes:
    """Return a request with its header."""
    return _HEADER.pack(_HEADER.size + len(body), SOCK_DIAG_BY_FAMILY, flags, 0, 0) + body


def _query_family(netlink: socket.socket, family: int) -> Iterator[ListeningSocket]:
    query = _QUERY.pack(family, socket.IPPROTO_TCP, 0, _LISTEN_STATE)
    netlink.send(pack_request(_DUMP_REQUEST, query))
    while True:
        data = netlink.recv(_MAX_RESPONSE_SIZE)
        offset = 0
        while offset < len(data):
            size, message_type, _flags, _number, _port = _HEADER.unpack_from(data, offset)
            if message_type == _DONE:
                return
            if message_type != SOCK_DIAG_BY_FAMILY:
                raise OSError("the kernel does not list listening sockets")
            yield _parse_socket(data, offset + _HEADER.size)
            offset += (size + 3) & ~3


def _parse_socket(data: bytes, offset: int) -> ListeningSocket:
    family, port, packed = _SOCKET.unpack_from(data, offset)
    (inode,) = _INODE.unpack_from(data, offset + _INODE_OFFSET)
    width = 4 if family == socket.AF_INET else 16
    address = unmap_ipv4(socket.inet_ntop(family, packed[:width]))
    return ListeningSocket(port, address, inode)
