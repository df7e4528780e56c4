"""Sockets that listen already when the process starts, by their descriptors.

systemd passes them as sd_listen_fds(3) says; other programs, and shells, just leave them open.
"""

import os
import re
import socket
from collections.abc import MutableMapping
from typing import Final, NamedTuple

from cmux_proxy.errors import ListenError

_FIRST: Final = 3
# So many descriptors are named in an error.
_MOST_NAMED: Final = 4
_FAMILIES: Final = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)


class Passed(NamedTuple):
    """The descriptors that LISTEN_FDS names, and why they are not for this process, if so."""

    descriptors: list[int]
    problem: str = ""


def passed_descriptors(environment: MutableMapping[str, str]) -> Passed:
    """Return what LISTEN_FDS names; forget it, since no other process may take it."""
    pid = environment.pop("LISTEN_PID", "")
    count = environment.pop("LISTEN_FDS", "")
    environment.pop("LISTEN_FDNAMES", None)
    if not re.fullmatch(r"[0-9]{1,5}", count, re.ASCII) or not int(count):
        return Passed([])
    descriptors = list(range(_FIRST, _FIRST + int(count)))
    if pid == str(os.getpid()):
        return Passed(descriptors)
    names = ",".join(f"fd://{number}" for number in descriptors[:_MOST_NAMED])
    whose = f"process {pid}" if re.fullmatch(r"[0-9]+", pid, re.ASCII) else "another process"
    return Passed(
        [],
        f"it was passed to {whose} (LISTEN_PID), and this is {os.getpid()}; use --listen {names} "
        "where that process left it open, or say where else to listen",
    )


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
