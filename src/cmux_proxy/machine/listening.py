"""What listens on this machine: addresses and ports, and whose they are.

Knows how to put together what `isolation/proc_net.py`, `processes.py` and `namespaces.py` know, or
`psutil_backend.py` where there is no Linux. Nothing is connected to.
"""

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from cmux_proxy.isolation.proc_net import Socket, listening_sockets
from cmux_proxy.machine.namespaces import Space, spaces
from cmux_proxy.machine.processes import command_of, holders
from cmux_proxy.machine.sock_diag import listening_now
from cmux_proxy.routing.workspace import workspace_number

_ANY_IPV4: Final = "0.0.0.0"  # noqa: S104
_ANY: Final = "::"

NOT_TOLD: Final = (
    "what listens here cannot be told: /proc is not mounted, and netlink does not answer"
)


class Listening(NamedTuple):
    """A port that is listened on at an address; `pid` and `command` are None if nobody may tell.

    The workspace is one that is isolated, or the number that an address 127.18.a.b stands for.
    """

    port: int
    address: str
    workspace: str | None
    pid: int | None
    command: str | None

    @property
    def family(self) -> str:
        """IPv4 or IPv6."""
        return "IPv6" if ":" in self.address else "IPv4"

    def covers(self, host: str) -> bool:
        """Return whether a connection to an address of the same namespace comes here."""
        return covers(self.address, host)


def listening(among: Sequence[Space] | None = None) -> list[Listening]:
    """Return what listens in these namespaces, or in all that are known, in the order of ports."""
    return Survey().listening(among)


def ports_at(hosts: Sequence[str]) -> list[int]:
    """Return the ports of this namespace that are reached at one of these addresses.

    Takes a fraction of a millisecond, however much is connected. Empty where it cannot be told.
    """
    try:
        found = listening_now()
    except OSError:
        return []
    return sorted({each.port for each in found for host in hosts if covers(each.address, host)})


def covers(address: str, host: str) -> bool:
    """Return whether a connection to a host, an address too, comes to what is bound to an address.

    An IPv6 socket is taken for one that serves IPv4 too, as they do if nothing is said.
    """
    return address in (host, _ANY) or (address == _ANY_IPV4 and ":" not in host)


class Survey:
    """Looks again and again, and asks for the processes of new sockets only."""

    def __init__(self) -> None:
        self._pids: dict[int, int | None] = {}
        # Whether the last look has told what listens in this namespace.
        self.is_told = True

    def listening(self, among: Sequence[Space] | None = None) -> list[Listening]:
        """Return what listens now; see the function of that name."""
        if sys.platform != "linux":
            return _in_order(_elsewhere())
        return _in_order(self._on_linux(spaces() if among is None else among))

    def _on_linux(self, among: Sequence[Space]) -> Iterator[Listening]:
        self.is_told = True
        sockets = [(space, each) for space in among for each in self._sockets(space)]
        self._ask_for({each.inode for _space, each in sockets})
        for space, each in sockets:
            pid = self._pids[each.inode]
            command = None if pid is None else command_of(pid)
            yield _named(space, each.port, each.address, pid, command)

    def _sockets(self, space: Space) -> list[Socket]:
        try:
            return listening_sockets(space.pid)
        except OSError:
            if space.pid is not None:
                return []  # its process has ended
        try:
            # Without /proc, in a chroot for instance, the kernel tells all but the processes.
            return listening_now()
        except OSError:
            self.is_told = False
            return []

    def _ask_for(self, inodes: set[int]) -> None:
        """Keep what is known of these sockets, and find out the rest."""
        known = {inode: pid for inode, pid in self._pids.items() if inode in inodes and _is_on(pid)}
        new = inodes - known.keys()
        self._pids = {**known, **dict.fromkeys(new), **holders(new)}


def _elsewhere() -> Iterator[Listening]:
    # Linux does without psutil, and so do most installations.
    from cmux_proxy.machine.psutil_backend import listened_on

    return (_named(Space(), *each) for each in listened_on())


def _is_on(pid: int | None) -> bool:
    return pid is None or os.path.exists(f"/proc/{pid}")


def _named(
    space: Space, port: int, address: str, pid: int | None, command: str | None
) -> Listening:
    number = workspace_number(address)
    workspace = space.workspace or (None if number is None else str(number))
    return Listening(port, address, workspace, pid, command)


def _in_order(found: Iterable[Listening]) -> list[Listening]:
    return sorted(set(found), key=_order)


def _order(each: Listening) -> tuple[int, str, str, int]:
    return each.port, each.workspace or "", each.address, each.pid or 0
