"""What listens where there is no /proc, as psutil tells it: macOS.

There, only root learns what other users' processes listen on.
"""

from typing import NamedTuple

import psutil

from cmux_proxy.machine.processes import readable


class Found(NamedTuple):
    """A socket that is listened on, with the process that has it."""

    port: int
    address: str
    pid: int
    command: str | None


def listened_on() -> list[Found]:
    """Return the sockets of all processes that can be looked into."""
    found: list[Found] = []
    for process in psutil.process_iter():
        try:
            found += _listened_on_by(process)
        except (psutil.Error, OSError):
            continue  # it has ended, or is somebody else's
    return found


def _listened_on_by(process: psutil.Process) -> list[Found]:
    sockets = [each for each in process.net_connections("tcp") if each.status == psutil.CONN_LISTEN]
    command = readable(" ".join(process.cmdline()).encode()) if sockets else None
    return [
        Found(each.laddr.port, each.laddr.ip.removeprefix("::ffff:"), process.pid, command)
        for each in sockets
    ]
