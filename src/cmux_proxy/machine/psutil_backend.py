"""Listening sockets where there is no /proc (macOS), read with psutil.

Only root can see the sockets of other users' processes.
"""

from typing import NamedTuple

import psutil

from cmux_proxy.isolation.proc_net import unmap_ipv4
from cmux_proxy.machine.processes import format_command


class ProcessSocket(NamedTuple):
    """A listening socket, with its process."""

    port: int
    address: str
    pid: int
    command: str | None


def find_listening_sockets() -> list[ProcessSocket]:
    """Return the listening sockets of all processes that this user may inspect."""
    sockets: list[ProcessSocket] = []
    for process in psutil.process_iter():
        try:
            sockets += _find_sockets_of(process)
        except (psutil.Error, OSError):
            continue  # it has ended, or belongs to another user
    return sockets


def _find_sockets_of(process: psutil.Process) -> list[ProcessSocket]:
    connections = process.net_connections("tcp")
    addresses = [conn.laddr for conn in connections if conn.status == psutil.CONN_LISTEN]
    command = format_command(" ".join(process.cmdline()).encode()) if addresses else None
    return [
        ProcessSocket(address.port, unmap_ipv4(address.ip), process.pid, command)
        for address in addresses
    ]
