"""The processes that have a socket open."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cmux_proxy.machine.processes import find_socket_owners, format_command, read_command

SLEEPS = "import time; print(flush=True); time.sleep(60)"


def inode_of(sock: socket.socket) -> int:
    return os.fstat(sock.fileno()).st_ino


def test_the_owner_is_the_process_that_has_the_socket_open() -> None:
    with socket.socket() as first, socket.socket() as second:
        owners = find_socket_owners([inode_of(first), inode_of(second), 1])
        assert owners == {inode_of(first): os.getpid(), inode_of(second): os.getpid()}


def test_the_owner_is_the_process_with_the_lowest_id() -> None:
    with socket.socket() as sock:
        command = [sys.executable, "-c", SLEEPS]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, pass_fds=[sock.fileno()])
        inode = inode_of(sock)
        assert find_socket_owners([inode]) == {inode: min(os.getpid(), child.pid)}
    assert find_socket_owners([inode]) == {inode: child.pid}
    child.kill()
    child.communicate()
    assert find_socket_owners([inode]) == {}


def test_processes_that_this_user_may_not_inspect_are_skipped(
    tmp_path: Path,
) -> None:
    for pid in (2, *range(40, 8, -1)):
        (tmp_path / str(pid) / "fd").mkdir(parents=True)
        (tmp_path / str(pid) / "fd" / "3").symlink_to("socket:[7]")
    (tmp_path / "1").mkdir()  # its folder cannot be listed
    (tmp_path / "net").mkdir()
    (tmp_path / "2" / "fd" / "3").unlink()
    assert find_socket_owners([7], str(tmp_path)) == {7: 9}


def test_no_sockets_have_no_owners_even_without_procfs() -> None:
    assert find_socket_owners([], "/nowhere") == {}


def test_a_command_line_has_no_control_characters() -> None:
    command = [sys.executable, "-c", SLEEPS, "\x1b[31m", "ä"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    assert read_command(child.pid) == f"{sys.executable} -c {SLEEPS} ?[31m ä"
    child.kill()
    child.communicate()
    assert read_command(child.pid) is None


@pytest.mark.parametrize(
    ("command", "expected"),
    [(b"", None), (b"a b", "a b"), (b"\xff\n", "\N{REPLACEMENT CHARACTER}?")],
)
def test_a_command_line_is_formatted(command: bytes, expected: str | None) -> None:
    assert format_command(command) == expected
