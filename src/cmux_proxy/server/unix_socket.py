"""Unix sockets: bound to a path that nobody alive has, and removed from there at the end.

Knows nothing of what is spoken on them. Their neighbour is `listener`, for all kinds of addresses.
"""

import errno
import fcntl
import os
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from cmux_proxy.server.connection_limits import BACKLOG

# How long another proxy is waited for, and how often it is looked for, in seconds.
_LOCK_PATIENCE: Final = 1.0
_LOCK_STEP: Final = 0.01


class PathSocket(socket.socket):
    """A Unix socket that knows its file, and removes it when it is closed.

    It does so only in the process that has bound it, so that workers may close their copies, and
    only if the file is still its own: by then another program may have put one there.
    """

    _path = ""
    _file: tuple[int, int] | None = None
    _owner = 0

    def claim(self, path: str, mode: int | None) -> None:
        """Listen at a path, whose file gets this mode, or the umask's; raise OSError."""
        self.setblocking(False)
        self.bind(path)
        self._path = path
        self._owner = os.getpid()
        self._file = _identity(path)
        if mode is not None:
            # In time: nobody can connect before it listens.
            os.chmod(path, mode)
        self.listen(BACKLOG)

    def remove(self) -> None:
        """Remove its file, so that nobody new finds it; idempotent."""
        # The socket is open here, so no other file can have its number by chance.
        if self._file is not None and self._owner == os.getpid():
            if _identity(self._path) == self._file:
                os.unlink(self._path)
            self._file = None

    def close(self) -> None:
        """Remove its file, and close it; idempotent."""
        self.remove()
        super().close()


def listen_at(path: str, mode: int | None) -> PathSocket:
    """Return a socket that listens at a path; raise OSError.

    A file that a dead program has left there is replaced, a socket on which somebody listens is
    not, nor is any other file.
    """
    with _alone_in(os.path.dirname(path)):
        _remove_stale(path)
        sock = PathSocket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.claim(path, mode)
        except OSError:
            sock.close()
            raise
    return sock


@contextmanager
def _alone_in(folder: str) -> Iterator[None]:
    """Wait until no other proxy is about to listen in a folder.

    One that has bound its socket and does not listen yet looks like a dead one. A proxy holds the
    lock for an instant. So whoever keeps it for longer is something else, and is not waited for;
    nor is anybody where the folder may be written but not read, and so cannot be locked.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except PermissionError:
        yield
        return
    try:
        _lock(descriptor)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    end = time.monotonic() + _LOCK_PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                return
            time.sleep(_LOCK_STEP)
        else:
            return


def _remove_stale(path: str) -> None:
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError(errno.EEXIST, os.strerror(errno.EEXIST))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        except OSError:
            # Somebody is there who does not take it now, or not from us; binding will fail.
            return


def _identity(path: str) -> tuple[int, int] | None:
    """Return what tells a file from all others, None where there is none."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
