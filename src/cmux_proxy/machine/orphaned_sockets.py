"""Which connections of this machine's programs nobody holds any more, asked of the kernel (Linux).

A program that closes a connection sends the same FIN as one that only ends its half and waits for
an answer. Where the program is in this network namespace, the kernel can tell the two apart
(sock_diag(7)): a socket that is closed has no inode any more. About a program elsewhere it knows
nothing. Neighbour: `sock_diag.py`, which asks the same interface what listens.
"""

import socket
import struct
from types import TracebackType
from typing import Final, Protocol, Self

# <linux/netlink.h>, <linux/sock_diag.h>, <linux/inet_diag.h>
_SOCK_DIAG: Final = 4
_BY_FAMILY: Final = 20
_REQUEST: Final = 1
_ALL_STATES: Final = 0xFFFFFFFF
_NO_COOKIE: Final = bytes([255]) * 8
_HEADER: Final = struct.Struct("=IHHII")
_START: Final = struct.Struct("=BBxxI")
_PORTS: Final = struct.Struct("!HH")
_SCOPE: Final = struct.Struct("=I")
# Of an answer: the kind of the message, the state of the socket and its inode.
_ANSWER: Final = struct.Struct("=xxxxH11xB66xI")
# What a connection is in once its owner has sent a FIN: FIN_WAIT1, FIN_WAIT2, TIME_WAIT, LAST_ACK,
# CLOSING of <linux/tcp_states.h>.
_ENDED: Final = frozenset([4, 5, 6, 9, 11])
_MAPPED: Final = "::ffff:"


class Connected(Protocol):
    """A connected socket of ours, TCP over IPv4 or IPv6."""

    def getsockname(self) -> tuple[str, int]:
        """Return the address of this end."""

    def getpeername(self) -> tuple[str, int]:
        """Return the address of the other end."""


class Orphans:
    """A look at the other ends of connections; holds a descriptor between enter and exit."""

    def __init__(self) -> None:
        self._asked: socket.socket | None = None

    def __enter__(self) -> Self:
        # Not there but on Linux.
        family = getattr(socket, "AF_NETLINK", None)
        if family is not None:
            try:
                self._asked = socket.socket(family, socket.SOCK_RAW, _SOCK_DIAG)
                self._asked.setblocking(False)
            except OSError:
                # A sandbox without it, or no descriptor left.
                self.close()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ask no more."""
        if self._asked is not None:
            self._asked.close()
            self._asked = None

    def is_closed(self, sock: Connected) -> bool:
        """Return whether a program of this machine has closed the other end for certain."""
        if self._asked is None:
            return False
        try:
            self._asked.send(_question(sock.getpeername(), sock.getsockname()))
            answer = self._asked.recv(4096)
        except OSError:
            return False
        if len(answer) < _ANSWER.size:
            return False
        kind, state, inode = _ANSWER.unpack_from(answer)
        return kind == _BY_FAMILY and state in _ENDED and not inode


def _question(of: tuple[str, int], to: tuple[str, int]) -> bytes:
    """Ask for the one socket whose own address is `of` and whose peer's is `to`."""
    # A client of a socket for both families has a socket of IPv4.
    hosts = [name[0].removeprefix(_MAPPED).partition("%")[0] for name in (of, to)]
    family = socket.AF_INET6 if ":" in hosts[0] else socket.AF_INET
    asked = b"".join(
        [
            _START.pack(family, socket.IPPROTO_TCP, _ALL_STATES),
            _PORTS.pack(of[1], to[1]),
            *(socket.inet_pton(family, host).ljust(16, b"\0") for host in hosts),
            _SCOPE.pack(of[3] if len(of) > 3 else 0),
            _NO_COOKIE,
        ]
    )
    return _HEADER.pack(_HEADER.size + len(asked), _BY_FAMILY, _REQUEST, 0, 0) + asked
