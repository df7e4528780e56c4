"""The ports that processes listen on: address, port, workspace and process.

Combines `isolation/proc_net.py`, `sock_diag.py`, `processes.py` and `namespaces.py` on Linux, and
uses `psutil_backend.py` elsewhere. Opens no connection.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from cmux_proxy.config.address import IPV4_WILDCARD, IPV6_WILDCARD
from cmux_proxy.isolation.proc_net import ListeningSocket, read_listening_sockets
from cmux_proxy.machine.namespaces import Namespace, find_namespaces
from cmux_proxy.machine.processes import find_socket_owners, is_running, read_command
from cmux_proxy.machine.sock_diag import query_listening_sockets
from cmux_proxy.routing.workspace import workspace_number

LISTENERS_UNKNOWN: Final = (
    "cannot list listening sockets: /proc is not mounted, and netlink does not answer"
)


class ListeningPort(NamedTuple):
    """An address and a port that a process listens on.

    `workspace` is an isolated one, or the number that an address 127.18.a.b encodes. `pid` and
    `command` are None where this user may not see the process.
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
        """Return whether a connection to this IP address, in the same namespace, arrives here."""
        return covers(self.address, host)


def find_listening_ports(namespaces: Sequence[Namespace] | None = None) -> list[ListeningPort]:
    """Return the listening ports of these namespaces, or of all known ones, sorted by port."""
    return ListenerScanner().scan(namespaces)


def find_ports_at(hosts: Sequence[str]) -> list[int]:
    """Return the ports of this namespace that accept connections at one of these IP addresses.

    Takes a fraction of a millisecond, however many connections there are. Returns an empty list
    where the kernel does not answer.
    """
    try:
        sockets = query_listening_sockets()
    except OSError:
        return []
    return sorted({sock.port for sock in sockets for host in hosts if covers(sock.address, host)})


def covers(address: str, host: str) -> bool:
    """Return whether a socket bound to `address` accepts a connection to the IP address `host`.

    Assumes that a socket bound to [::] accepts IPv4 too, which is the default.
    """
    return address in (host, IPV6_WILDCARD) or (address == IPV4_WILDCARD and ":" not in host)


class ListenerScanner:
    """Lists listening ports repeatedly; looks up the processes of new sockets only."""

    def __init__(self) -> None:
        self._pids: dict[int, int | None] = {}
        # Whether the latest scan could read the listening sockets of this namespace.
        self.is_complete = True

    def scan(self, namespaces: Sequence[Namespace] | None = None) -> list[ListeningPort]:
        """Return the current listening ports; see `find_listening_ports`."""
        if sys.platform != "linux":
            return _sort(_scan_with_psutil())
        return _sort(self._scan_linux(find_namespaces() if namespaces is None else namespaces))

    def _scan_linux(self, namespaces: Sequence[Namespace]) -> Iterator[ListeningPort]:
        self.is_complete = True
        sockets = [
            (namespace, sock) for namespace in namespaces for sock in self._read_sockets(namespace)
        ]
        self._find_owners({sock.inode for _namespace, sock in sockets})
        for namespace, sock in sockets:
            pid = self._pids[sock.inode]
            command = None if pid is None else read_command(pid)
            yield _listening_port(namespace, sock.port, sock.address, pid, command)

    def _read_sockets(self, namespace: Namespace) -> list[ListeningSocket]:
        try:
            return read_listening_sockets(namespace.pid)
        except OSError:
            if namespace.pid is not None:
                return []  # its process has ended
        try:
            # Without /proc, in a chroot for instance, netlink has everything except the processes.
            return query_listening_sockets()
        except OSError:
            self.is_complete = False
            return []

    def _find_owners(self, inodes: set[int]) -> None:
        """Look up the processes of new sockets, and forget those of sockets that are gone."""
        known = {
            inode: pid
            for inode, pid in self._pids.items()
            if inode in inodes and (pid is None or is_running(pid))
        }
        new = inodes - known.keys()
        self._pids = {**known, **dict.fromkeys(new), **find_socket_owners(new)}


def _scan_with_psutil() -> Iterator[ListeningPort]:
    # Imported here because psutil is not installed on Linux.
    from cmux_proxy.machine.psutil_backend import find_listening_sockets

    return (_listening_port(Namespace(), *sock) for sock in find_listening_sockets())


def _listening_port(
    namespace: Namespace, port: int, address: str, pid: int | None, command: str | None
) -> ListeningPort:
    number = workspace_number(address)
    workspace = namespace.workspace or (None if number is None else str(number))
    return ListeningPort(port, address, workspace, pid, command)


def _sort(listeners: Iterable[ListeningPort]) -> list[ListeningPort]:
    return sorted(set(listeners), key=_sort_key)


def _sort_key(listener: ListeningPort) -> tuple[int, str, str, int]:
    return listener.port, listener.workspace or "", listener.address, listener.pid or 0
