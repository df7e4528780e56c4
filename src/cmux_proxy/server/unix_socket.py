"""Unix sockets: bound to a path, of which a dead socket is removed, and unlinked at the end.

Does not know the protocol on them. Neighbours: `binding` binds addresses of all types, `listener`
accepts on them.
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

from cmux_proxy.net.socket_options import LISTEN_BACKLOG

# How long to wait for another proxy's lock, and how often to try, in seconds.
_LOCK_TIMEOUT: Final = 1.0
_LOCK_INTERVAL: Final = 0.01


class UnixSocket(socket.socket):
    """A Unix socket that removes its file when it is closed.

    Only the process that bound the socket removes the file, so that workers may close their copies.
    The file is removed only if it is still the socket's own, because another program may have
    replaced it.
    """

    _path = ""
    _file: tuple[int, int] | None = None
    _owner = 0

    def listen_at(self, path: str, mode: int | None) -> None:
        """Listen at a path, whose file gets this mode, or the umask's; raise OSError."""
        self.setblocking(False)
        self.bind(path)
        self._path = path
        self._owner = os.getpid()
        self._file = _file_identity(path)
        if mode is not None:
            # In time, because no client can connect before `listen`.
            os.chmod(path, mode)
        self.listen(LISTEN_BACKLOG)

    def unlink(self) -> None:
        """Remove the file, so that no new client can connect; idempotent."""
        # The socket is still open, so no other file can have its inode.
        if self._file is not None and self._owner == os.getpid():
            if _file_identity(self._path) == self._file:
                os.unlink(self._path)
            self._file = None

    def close(self) -> None:
        """Remove the file, and close the socket; idempotent."""
        self.unlink()
        super().close()


def listen_unix(path: str, mode: int | None, lock_timeout: float = _LOCK_TIMEOUT) -> UnixSocket:
    """Return a socket that listens at a path; raise OSError.

    Replaces a socket that a dead program has left there. Does not replace a socket that a program
    listens on, or any other file.
    """
    with _directory_lock(os.path.dirname(path), lock_timeout):
        _remove_stale_socket(path)
        sock = UnixSocket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.listen_at(path, mode)
        except OSError:
            sock.close()
            raise
    return sock


@contextmanager
def _directory_lock(directory: str, timeout: float) -> Iterator[None]:
    """Exclude other proxies from binding a socket in this directory at the same time.

    A proxy that has bound its socket and does not listen yet looks like a dead one. A proxy holds
    the lock for an instant, so a longer holder is another program, and the lock is ignored. It is
    also ignored where the directory is writable but not readable, because it cannot be opened.
    """
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except PermissionError:
        yield
        return
    try:
        _lock_or_time_out(descriptor, timeout)
        yield
    finally:
        os.close(descriptor)


def _lock_or_time_out(descriptor: int, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return
            time.sleep(_LOCK_INTERVAL)
        else:
            return


def _remove_stale_socket(path: str) -> None:
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
            # A program listens whose backlog is full or which refuses this user; binding fails.
            return


def _file_identity(path: str) -> tuple[int, int] | None:
    """Return the device and inode of a file, None where there is no file."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
