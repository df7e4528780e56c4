"""Sockets that listen already when the process starts, by their descriptors.

systemd passes them as sd_listen_fds(3) says; other programs, and shells, just leave them open.
"""

import os
import re
import socket
from collections.abc import MutableMapping
from typing import Final

from cmux_proxy.errors import ListenError

_FIRST: Final = 3
_FAMILIES: Final = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)


def passed_descriptors(environment: MutableMapping[str, str]) -> list[int]:
    """Return what LISTEN_FDS says that this process was given; forget it, as it is for us alone."""
    pid = environment.pop("LISTEN_PID", "")
    count = environment.pop("LISTEN_FDS", "")
    environment.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or not re.fullmatch(r"[0-9]{1,5}", count, re.ASCII):
        return []
    return list(range(_FIRST, _FIRST + int(count)))


def take_over(descriptor: int) -> socket.socket:
    """Return the socket of a descriptor; raise ListenError unless it listens for streams."""
    try:
        sock = socket.socket(fileno=descriptor)
    except OSError as error:
        raise ListenError(f"fd://{descriptor}", os.strerror(error.errno or 0)) from None
    if not _listens(sock):
        # It is not ours to close.
        sock.detach()
        raise ListenError(f"fd://{descriptor}", "it is not a TCP or Unix socket that listens")
    sock.set_inheritable(False)
    return sock


def _listens(sock: socket.socket) -> bool:
    return (
        sock.family in _FAMILIES
        and sock.type == socket.SOCK_STREAM
        and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) != 0
    )
