"""Which process has a socket open, and what its command line is, read from Linux's /proc.

Only root can see the open files of other users' processes.
"""

import os
from collections.abc import Collection, Iterator
from typing import Final

_PROC: Final = "/proc"


def find_socket_owners(inodes: Collection[int], proc: str = _PROC) -> dict[int, int]:
    """Return a process id for each of these sockets whose process is visible.

    Where several processes have a socket open, the lowest id counts. `proc` is where procfs is
    mounted.
    """
    remaining = {f"socket:[{inode}]": inode for inode in inodes}
    owners: dict[int, int] = {}
    for pid in _list_pids(proc) if remaining else ():
        for file in _read_open_files(f"{proc}/{pid}/fd"):
            if file in remaining:
                owners[remaining.pop(file)] = pid
        if not remaining:
            break
    return owners


def is_running(pid: int) -> bool:
    """Return whether a process has this id."""
    return os.path.exists(f"{_PROC}/{pid}")


def read_command(pid: int) -> str | None:
    """Return a process's command line, without control characters; None if it is unknown."""
    try:
        with open(f"{_PROC}/{pid}/cmdline", "rb") as file:
            return format_command(file.read().rstrip(b"\0").replace(b"\0", b" "))
    except OSError:
        return None


def format_command(command: bytes) -> str | None:
    """Return a command line with ? for unprintable characters; None for an empty one."""
    text = command.decode("utf-8", "replace")
    return "".join(char if char.isprintable() else "?" for char in text) or None


def _list_pids(proc: str) -> list[int]:
    try:
        return sorted(int(name) for name in os.listdir(proc) if name.isdecimal())
    except OSError:
        return []


def _read_open_files(folder: str) -> Iterator[str]:
    """Yield the link targets of a process's descriptors; nothing where they are not visible."""
    try:
        for name in os.listdir(folder):
            try:
                yield os.readlink(f"{folder}/{name}")
            except FileNotFoundError:
                continue  # closed meanwhile
    except OSError:
        return
