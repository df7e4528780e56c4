"""Sockets that already listen when the process starts, given by their descriptors.

systemd passes them as sd_listen_fds(3) describes; other programs and shells just leave them open.
Does not bind anything.
"""

import os
import re
import socket
from collections.abc import MutableMapping
from typing import Final, NamedTuple

from cmux_proxy.errors import ListenError
from cmux_proxy.net.socket_options import is_listening

_FIRST_DESCRIPTOR: Final = 3
# How many descriptors an error names.
_MAX_NAMED: Final = 4
_FAMILIES: Final = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)


class InheritedSockets(NamedTuple):
    """The descriptors of LISTEN_FDS, or the reason why they are not for this process."""

    descriptors: list[int]
    problem: str = ""


def take_listen_fds(environment: MutableMapping[str, str]) -> InheritedSockets:
    """Return the descriptors of LISTEN_FDS; remove the variables, so that no child sees them."""
    pid = environment.pop("LISTEN_PID", "")
    count = environment.pop("LISTEN_FDS", "")
    environment.pop("LISTEN_FDNAMES", None)
    if not re.fullmatch(r"[0-9]{1,5}", count, re.ASCII) or not int(count):
        return InheritedSockets([])
    descriptors = list(range(_FIRST_DESCRIPTOR, _FIRST_DESCRIPTOR + int(count)))
    if pid == str(os.getpid()):
        return InheritedSockets(descriptors)
    names = ",".join(f"fd://{number}" for number in descriptors[:_MAX_NAMED])
    owner = f"process {pid}" if re.fullmatch(r"[0-9]+", pid, re.ASCII) else "another process"
    return InheritedSockets(
        [],
        f"it was passed to {owner} (LISTEN_PID), and this is {os.getpid()}; use --listen {names} "
        "if that process left it open, or listen on another address",
    )


def adopt_descriptor(descriptor: int) -> socket.socket:
    """Return the socket of a descriptor; raise ListenError unless it is a listening stream."""
    try:
        sock = socket.socket(fileno=descriptor)
    except OSError as error:
        raise ListenError(f"fd://{descriptor}", os.strerror(error.errno or 0)) from None
    if not _is_listening_stream(sock):
        # The descriptor stays open because it belongs to another part of the process.
        sock.detach()
        raise ListenError(f"fd://{descriptor}", "it is not a listening TCP or Unix socket")
    sock.set_inheritable(False)
    return sock


def _is_listening_stream(sock: socket.socket) -> bool:
    return sock.family in _FAMILIES and sock.type == socket.SOCK_STREAM and is_listening(sock)
