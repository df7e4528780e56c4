"""Unix sockets: which files are replaced, and which are removed."""

import errno
import fcntl
import os
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from cmux_proxy.server.unix_socket import UnixSocket, listen_unix
from tests.helpers.children import in_a_process, status_of
from tests.helpers.timing import LATER


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "proxy.sock"


def listening(path: Path, mode: int | None = None) -> UnixSocket:
    return listen_unix(str(path), mode)


def connect(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def leave_stale(path: Path) -> int:
    """Leave the socket of a dead program; return its inode."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    return path.lstat().st_ino


@contextmanager
def umask(mask: int) -> Iterator[None]:
    previous = os.umask(mask)
    try:
        yield
    finally:
        os.umask(previous)


# Which files are replaced


def test_the_socket_is_nonblocking_and_not_inheritable(path: Path) -> None:
    with listening(path) as sock:
        connect(path)
        assert not sock.getblocking()
        assert not sock.get_inheritable()


def test_the_socket_of_a_dead_program_is_replaced(path: Path) -> None:
    leave_stale(path)
    with listening(path):
        connect(path)


def test_a_socket_in_use_is_refused(path: Path) -> None:
    with listening(path):
        with pytest.raises(OSError, match="in use") as caught:
            listening(path)
        assert caught.value.errno == errno.EADDRINUSE
        connect(path)


def test_a_socket_with_a_full_backlog_is_in_use(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other, ExitStack() as stack:
        other.bind(str(path))
        other.listen(0)
        with suppress(BlockingIOError):
            while True:
                client = stack.enter_context(socket.socket(socket.AF_UNIX))
                client.setblocking(False)
                client.connect(str(path))
        with pytest.raises(OSError, match="in use"):
            listening(path)
        assert path.exists()


def test_a_socket_of_another_type_is_in_use(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(str(path))
        with pytest.raises(OSError, match="in use"):
            listening(path)
        assert path.exists()


@pytest.mark.parametrize(
    "file_type", ["file", "folder", "link to nothing", "link to a dead socket"]
)
def test_a_file_that_is_not_a_socket_is_never_replaced(path: Path, file_type: str) -> None:
    if file_type == "file":
        path.touch()
    elif file_type == "folder":
        path.mkdir()
    else:
        target = path.with_name("target")
        path.symlink_to(target)
        if file_type == "link to a dead socket":
            leave_stale(target)
    inode = path.lstat().st_ino
    with pytest.raises(OSError, match="File exists"):
        listening(path)
    assert path.lstat().st_ino == inode


def test_a_missing_directory_is_an_error(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        listening(path / "deeper")


def test_a_path_that_is_too_long_is_an_error(path: Path) -> None:
    with pytest.raises(OSError, match="too long"):
        listening(path.with_name("n" * 200))


def test_one_of_many_threads_replaces_a_dead_socket(path: Path) -> None:
    leave_stale(path)
    barrier = threading.Barrier(8)
    sockets: list[UnixSocket] = []
    refused: list[OSError] = []

    def listen() -> None:
        barrier.wait()
        try:
            sockets.append(listening(path))
        except OSError as error:
            refused.append(error)

    threads = [threading.Thread(target=listen) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [winner] = sockets
    with winner:
        assert len(refused) == 7
        connect(path)


# Who may connect


@pytest.mark.parametrize(("mode", "expected"), [(None, 0o750), (0o660, 0o660), (0o777, 0o777)])
def test_the_file_has_the_requested_mode(path: Path, mode: int | None, expected: int) -> None:
    with umask(0o027), listening(path, mode):
        assert stat.S_IMODE(path.lstat().st_mode) == expected


# The end


def test_closing_removes_the_file(path: Path) -> None:
    sock = listening(path)
    sock.close()
    sock.close()
    assert not path.exists()
    assert sock.fileno() == -1


def test_the_file_may_be_removed_before_the_backlog_is_accepted(path: Path) -> None:
    with listening(path) as sock, socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        sock.unlink()
        assert not path.exists()
        sock.accept()[0].close()


def test_the_file_of_another_socket_stays(path: Path) -> None:
    with listening(path) as first:
        path.unlink()
        with listening(path):
            first.close()
            connect(path)


def test_a_missing_file_is_not_an_error(path: Path) -> None:
    with listening(path):
        path.unlink()


def test_a_forked_process_leaves_the_file_to_its_parent(path: Path) -> None:
    with listening(path) as sock:

        def closes() -> bool:
            sock.close()
            return True

        assert status_of(in_a_process(closes)) == 0
        connect(path)
    assert not path.exists()


def test_a_mode_that_cannot_be_set_leaves_no_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr("cmux_proxy.server.unix_socket.os.chmod", refuse)
    with pytest.raises(PermissionError):
        listening(path, 0o600)
    assert not path.exists()


# Directories that another program has locked, or that are not readable


def test_a_lock_that_is_held_for_long_is_ignored(path: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        with listen_unix(str(path), None, lock_timeout=0.0):
            connect(path)
    finally:
        os.close(folder)


AS_NOBODY = """
import os, sys
from cmux_proxy.server.unix_socket import listen_unix
path = sys.argv[1]
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
with listen_unix(path, None):
    print(oct(os.stat(os.path.dirname(path)).st_mode), os.path.exists(path))
print(os.path.exists(path))
"""


def test_listening_in_a_directory_that_is_writable_but_not_readable() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o300)
        if os.getuid() == 0:
            os.chown(folder, 65534, 65534)
        command = [sys.executable, "-c", AS_NOBODY, f"{folder}/proxy.sock"]
        # Coverage writes a file for each process, which the user nobody may not do here.
        variables = {**os.environ, "COVERAGE_PROCESS_CONFIG": ""}
        done = subprocess.run(command, capture_output=True, text=True, timeout=LATER, env=variables)
        assert (done.stdout, done.stderr) == ("0o40300 True\nFalse\n", "")
        os.chmod(folder, 0o700)
