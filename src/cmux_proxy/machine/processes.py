"""Who has a socket, and what its command is, by Linux's /proc.

Of other users' processes only root learns what they have open.
"""

import os
from collections.abc import Collection, Iterator
from typing import Final

_PROC: Final = "/proc"


def holders(inodes: Collection[int]) -> dict[int, int]:
    """Return a process for each of these sockets that one is known of; of several, the lowest."""
    wanted = {f"socket:[{inode}]": inode for inode in inodes}
    found: dict[int, int] = {}
    for pid in _pids() if wanted else ():
        for name in _open_in(pid):
            if name in wanted:
                found[wanted.pop(name)] = pid
        if not wanted:
            break
    return found


def command_of(pid: int) -> str | None:
    """Return a process's command line, with nothing that a terminal would obey."""
    try:
        with open(f"{_PROC}/{pid}/cmdline", "rb") as file:
            return readable(file.read().rstrip(b"\0").replace(b"\0", b" "))
    except OSError:
        return None


def readable(words: bytes) -> str | None:
    """Return a command line with ? for what cannot be printed, None for an empty one."""
    text = words.decode("utf-8", "replace")
    return "".join(char if char.isprintable() else "?" for char in text) or None


def _pids() -> list[int]:
    try:
        return sorted(int(name) for name in os.listdir(_PROC) if name.isdecimal())
    except OSError:
        return []


def _open_in(pid: int) -> Iterator[str]:
    """Yield what a process has open, as far as that can be told."""
    folder = f"{_PROC}/{pid}/fd"
    try:
        for name in os.listdir(folder):
            try:
                yield os.readlink(f"{folder}/{name}")
            except FileNotFoundError:
                continue  # closed meanwhile
    except OSError:
        return
