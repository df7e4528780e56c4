"""The directory in which isolated workspaces are found: for each, its keeper's socket.

A socket bears the workspace's address, which is what names come down to. A file to which nobody
listens is what a keeper left that was killed, and counts for nothing. The directory is its user's
alone; in one that anybody else may change, traffic could be led astray.
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
    """Return the path of this user's directory, which need not be there yet."""
    user = os.geteuid()
    given = os.environ.get("XDG_RUNTIME_DIR", "")
    # After `su` the variable may still name the directory of the user before.
    if os.path.isabs(given) and _owner(given) == user:
        return os.path.join(given, "cmux-proxy")
    return f"/tmp/cmux-proxy-{user}"  # noqa: S108 - opened only if it is ours alone


def _owner(path: str) -> int | None:
    try:
        return os.stat(path).st_uid
    except OSError:
        return None


class Registry:
    """The directory, open; to be closed."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def open(cls) -> "Registry":
        """Open the directory, and make it first where it is missing."""
        path = directory()
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o700)
        return cls(_open_own(path))

    @classmethod
    def find(cls) -> "Registry | None":
        """Open the directory; return None where it is missing or not this user's alone."""
        try:
            return cls(_open_own(directory()))
        except (OSError, IsolationError):
            return None

    def close(self) -> None:
        """Close the directory, and give back its lock."""
        os.close(self._descriptor)

    def __enter__(self) -> "Registry":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Be alone with the directory, against everybody who opened it for himself."""
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def locks_at_once(self) -> bool:
        """Lock the directory, until it is closed, unless somebody else has; return whether."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def addresses(self) -> list[str]:
        """Return the addresses that have a socket, whether or not anybody listens to it."""
        found = [name for name in os.listdir(self._descriptor) if _ADDRESS.fullmatch(name)]
        return sorted(found, key=lambda name: tuple(map(int, name.split("."))))

    def connect(self, address: str, timeout: float | None) -> socket.socket | None:
        """Return a connection to a workspace's keeper, or None where there is none.

        With a timeout of 0, BlockingIOError says that the keeper is behind.
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
        """Return a keeper's socket, in the place of one that is not listened to any more."""
        self.remove(address)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener.bind(self._path(address))
        listener.listen(_BACKLOG)
        return listener

    def remove(self, address: str) -> None:
        """Remove a keeper's socket."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(address, dir_fd=self._descriptor)

    def _path(self, address: str) -> str:
        # The path of a socket may have 107 bytes, and a directory's may be longer.
        return f"/proc/self/fd/{self._descriptor}/{address}"


def _open_own(path: str) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    status = os.fstat(descriptor)
    if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) != 0o700:
        os.close(descriptor)
        raise IsolationError(f"{path} is not this user's alone (mode 0700); remove it")
    return descriptor
