"""Sockets at paths: whose file may be replaced, and whose file is removed."""

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

from cmux_proxy.server import unix_socket
from cmux_proxy.server.unix_socket import PathSocket, listen_at
from tests.helpers.timing import LATER


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "proxy.sock"


def listening(path: Path, mode: int | None = None) -> PathSocket:
    return listen_at(str(path), mode)


def connects(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def leave_stale(path: Path) -> int:
    """Leave behind what a program does that was killed; return its inode."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    return path.lstat().st_ino


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


# Whose place it is


def test_it_listens_and_does_not_block_and_is_not_for_children(path: Path) -> None:
    with listening(path) as sock:
        connects(path)
        assert not sock.getblocking()
        assert not sock.get_inheritable()


def test_what_a_dead_program_left_is_replaced(path: Path) -> None:
    leave_stale(path)
    with listening(path):
        connects(path)


def test_where_somebody_listens_it_is_refused(path: Path) -> None:
    with listening(path):
        with pytest.raises(OSError, match="in use") as caught:
            listening(path)
        assert caught.value.errno == errno.EADDRINUSE
        connects(path)


def test_whoever_is_too_busy_to_take_a_connection_is_somebody_too(path: Path) -> None:
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


def test_whoever_listens_for_something_else_is_somebody_too(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(str(path))
        with pytest.raises(OSError, match="in use"):
            listening(path)
        assert path.exists()


@pytest.mark.parametrize("kind", ["file", "folder", "link to nothing", "link to a dead socket"])
def test_what_is_no_socket_is_never_replaced(path: Path, kind: str) -> None:
    if kind == "file":
        path.touch()
    elif kind == "folder":
        path.mkdir()
    else:
        target = path.with_name("target")
        path.symlink_to(target)
        if kind == "link to a dead socket":
            leave_stale(target)
    before = path.lstat().st_ino
    with pytest.raises(OSError, match="File exists"):
        listening(path)
    assert path.lstat().st_ino == before


def test_a_folder_that_is_not_there_is_an_error(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        listening(path / "deeper")


def test_a_path_that_is_too_long_is_an_error(path: Path) -> None:
    with pytest.raises(OSError, match="too long"):
        listening(path.with_name("n" * 200))


def test_of_many_who_find_a_dead_socket_one_gets_the_place(path: Path) -> None:
    leave_stale(path)
    barrier = threading.Barrier(8)
    made: list[PathSocket] = []
    refused: list[OSError] = []

    def claim() -> None:
        barrier.wait()
        try:
            made.append(listening(path))
        except OSError as error:
            refused.append(error)

    threads = [threading.Thread(target=claim) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [winner] = made
    with winner:
        assert len(refused) == 7
        connects(path)


# Who may connect


@pytest.mark.parametrize(("mode", "expected"), [(None, 0o750), (0o660, 0o660), (0o777, 0o777)])
def test_the_file_has_the_mode_that_is_asked_for(
    path: Path, mode: int | None, expected: int
) -> None:
    with umask(0o027), listening(path, mode):
        assert stat.S_IMODE(path.lstat().st_mode) == expected


# The end


def test_closing_removes_the_file(path: Path) -> None:
    sock = listening(path)
    sock.close()
    sock.close()
    assert not path.exists()
    assert sock.fileno() == -1


def test_the_file_may_go_before_those_who_wait_are_accepted(path: Path) -> None:
    with listening(path) as sock, socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        sock.remove()
        assert not path.exists()
        sock.accept()[0].close()


def test_what_somebody_else_has_put_there_stays(path: Path) -> None:
    with listening(path) as first:
        path.unlink()
        with listening(path):
            first.close()
            connects(path)


def test_a_file_that_is_gone_is_no_error(path: Path) -> None:
    with listening(path):
        path.unlink()


def test_a_forked_process_leaves_the_file_to_its_parent(path: Path) -> None:
    with listening(path) as sock:
        pid = os.fork()
        if not pid:
            sock.close()
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        connects(path)
    assert not path.exists()


def test_a_mode_that_cannot_be_had_leaves_no_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr("cmux_proxy.server.unix_socket.os.chmod", refuses)
    with pytest.raises(PermissionError):
        listening(path, 0o600)
    assert not path.exists()


# Folders that somebody else has locked, or that cannot be read


def test_whoever_locks_the_folder_for_long_is_not_waited_for(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unix_socket, "_LOCK_PATIENCE", 0.0)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        with listening(path):
            connects(path)
    finally:
        os.close(folder)


AS_NOBODY = """
import os, sys
from cmux_proxy.server.unix_socket import listen_at
path = sys.argv[1]
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
with listen_at(path, None):
    print(oct(os.stat(os.path.dirname(path)).st_mode), os.path.exists(path))
print(os.path.exists(path))
"""


def test_a_folder_that_can_be_written_and_not_read_is_a_place_to_listen() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o300)
        if os.getuid() == 0:
            os.chown(folder, 65534, 65534)
        command = [sys.executable, "-c", AS_NOBODY, f"{folder}/proxy.sock"]
        # Coverage has a file of its own for each process, which nobody may not write here.
        variables = {**os.environ, "COVERAGE_PROCESS_CONFIG": ""}
        done = subprocess.run(command, capture_output=True, text=True, timeout=LATER, env=variables)
        assert (done.stdout, done.stderr) == ("0o40300 True\nFalse\n", "")
        os.chmod(folder, 0o700)
