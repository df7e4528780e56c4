"""The directory that lists isolated workspaces: the listening socket of each namespace holder.

The name of a socket is the workspace's address. A file on which no process listens was left by a
holder that was killed, and does not count. The directory must belong to its user alone (mode 0700),
because another user who may write to it could redirect traffic.
"""

import contextlib
import fcntl
import os
import re
import socket
import stat
from collections.abc import Iterator
from typing import Final

from cmux_proxy.isolation.errors import IsolationError

_ADDRESS: Final = re.compile(r"127\.18\.[0-9]{1,3}\.[0-9]{1,3}", re.ASCII)
_BACKLOG: Final = 1024


def directory() -> str:
    """Return the path of this user's directory, which may not exist yet."""
    user = os.geteuid()
    runtime_directory = os.environ.get("XDG_RUNTIME_DIR", "")
    # After `su` the variable may still name the previous user's directory.
    if os.path.isabs(runtime_directory) and _owner(runtime_directory) == user:
        return os.path.join(runtime_directory, "cmux-proxy")
    return f"/tmp/cmux-proxy-{user}"  # noqa: S108 - its owner and mode are checked


def _owner(path: str) -> int | None:
    try:
        return os.stat(path).st_uid
    except OSError:
        return None


class Registry:
    """The open directory; close it after use."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def open(cls) -> "Registry":
        """Open the directory; create it where it is missing. Raises IsolationError."""
        path = directory()
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o700)
        return cls(_open_private(path))

    @classmethod
    def find(cls) -> "Registry | None":
        """Open the directory; return None where it is missing or other users may access it."""
        try:
            return cls(_open_private(directory()))
        except (OSError, IsolationError):
            return None

    def close(self) -> None:
        """Close the directory, and release its lock."""
        os.close(self._descriptor)

    def __enter__(self) -> "Registry":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the lock of the directory exclusively; waits for other processes."""
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def try_lock(self) -> bool:
        """Lock the directory until it is closed; return False if another process has the lock."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def addresses(self) -> list[str]:
        """Return the addresses that have a socket, whether or not a process listens on it."""
        addresses = [name for name in os.listdir(self._descriptor) if _ADDRESS.fullmatch(name)]
        return sorted(addresses, key=lambda name: tuple(map(int, name.split("."))))

    def connect(self, address: str, timeout: float | None) -> socket.socket | None:
        """Return a connection to a workspace's holder, or None where there is no holder.

        `timeout` is in seconds. With a timeout of 0, BlockingIOError means that the holder's
        backlog is full.
        """
        channel = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            channel.settimeout(timeout)
            channel.connect(self._path(address))
        except (FileNotFoundError, ConnectionRefusedError):
            channel.close()
            return None
        except BaseException:
            channel.close()
            raise
        return channel

    def listen(self, address: str) -> socket.socket:
        """Return a listening socket for a holder, which replaces one that a dead holder left."""
        self.remove(address)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener.bind(self._path(address))
        listener.listen(_BACKLOG)
        return listener

    def remove(self, address: str) -> None:
        """Remove a holder's socket."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(address, dir_fd=self._descriptor)

    def _path(self, address: str) -> str:
        # The path of a socket is limited to 107 bytes; the directory's path may be longer.
        return f"/proc/self/fd/{self._descriptor}/{address}"


def _open_private(path: str) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    status = os.fstat(descriptor)
    if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) != 0o700:
        os.close(descriptor)
        raise IsolationError(f"{path} is not this user's alone (mode 0700); remove it")
    return descriptor
