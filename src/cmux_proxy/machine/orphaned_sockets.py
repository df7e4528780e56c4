"""Whether the program at the other end of a local connection has closed its socket (Linux).

A program that closes a connection sends the same FIN as a program that only ends its half and waits
for a response. Where the program is in this network namespace, the kernel can tell the two apart
(sock_diag(7)): an orphaned socket, one that no program holds, has no inode. Does not know programs
on other machines or in other namespaces. Neighbour: `sock_diag.py` has the protocol.
"""

import socket
import struct
from typing import Final, Protocol, Self

from cmux_proxy.isolation.proc_net import unmap_ipv4
from cmux_proxy.machine.sock_diag import SOCK_DIAG_BY_FAMILY, open_netlink, pack_request

# <linux/netlink.h>, <linux/inet_diag.h>
_REQUEST: Final = 1
_ALL_STATES: Final = 0xFFFFFFFF
_NO_COOKIE: Final = bytes([255]) * 8
_HEAD: Final = struct.Struct("=BBxxI")
_PORTS: Final = struct.Struct("!HH")
_SCOPE: Final = struct.Struct("=I")
# The message type, the state of the socket and its inode.
_RESPONSE: Final = struct.Struct("=xxxxH11xB66xI")
_MAX_RESPONSE_SIZE: Final = 4096
# The states of a socket that has sent a FIN: FIN_WAIT1, FIN_WAIT2, TIME_WAIT, LAST_ACK, CLOSING of
# <linux/tcp_states.h>.
_FIN_SENT_STATES: Final = frozenset([4, 5, 6, 9, 11])


class ConnectedSocket(Protocol):
    """A connected TCP socket of this process, IPv4 or IPv6."""

    def getsockname(self) -> tuple[str, int]:
        """Return the address of this end."""

    def getpeername(self) -> tuple[str, int]:
        """Return the address of the other end."""


class OrphanQuery:
    """Queries the kernel for the other ends of connections; a context manager that owns a socket.

    Where the kernel does not answer, no socket counts as closed.
    """

    def __init__(self) -> None:
        self._netlink: socket.socket | None = None

    def __enter__(self) -> Self:
        try:
            self._netlink = open_netlink()
            self._netlink.setblocking(False)
        except OSError:
            # Not Linux, a sandbox without netlink, or no descriptor left.
            self.close()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket; no connection counts as closed from now on."""
        if self._netlink is not None:
            self._netlink.close()
            self._netlink = None

    def is_peer_closed(self, sock: ConnectedSocket) -> bool:
        """Return whether a program of this namespace has certainly closed the other end."""
        if self._netlink is None:
            return False
        try:
            self._netlink.send(_pack_query(sock.getpeername(), sock.getsockname()))
            response = self._netlink.recv(_MAX_RESPONSE_SIZE)
        except OSError:
            return False
        if len(response) < _RESPONSE.size:
            return False
        message_type, state, inode = _RESPONSE.unpack_from(response)
        return message_type == SOCK_DIAG_BY_FAMILY and state in _FIN_SENT_STATES and not inode


def _pack_query(local: tuple[str, int], remote: tuple[str, int]) -> bytes:
    """Return a query for the one socket that has these addresses."""
    # A client of a dual-stack socket has an IPv4 socket.
    hosts = [unmap_ipv4(name[0]).partition("%")[0] for name in (local, remote)]
    family = socket.AF_INET6 if ":" in hosts[0] else socket.AF_INET
    body = b"".join(
        [
            _HEAD.pack(family, socket.IPPROTO_TCP, _ALL_STATES),
            _PORTS.pack(local[1], remote[1]),
            *(socket.inet_pton(family, host).ljust(16, b"\0") for host in hosts),
            _SCOPE.pack(local[3] if len(local) > 3 else 0),
            _NO_COOKIE,
        ]
    )
    return pack_request(_REQUEST, body)
