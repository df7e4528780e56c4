"""Whose a socket is."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cmux_proxy.machine import processes
from cmux_proxy.machine.processes import command_of, holders, readable

SLEEPS = "import time; print(flush=True); time.sleep(60)"


def inode_of(sock: socket.socket) -> int:
    return os.fstat(sock.fileno()).st_ino


def test_sockets_have_the_process_that_has_them_open() -> None:
    with socket.socket() as one, socket.socket() as other:
        found = holders([inode_of(one), inode_of(other), 1])
        assert found == {inode_of(one): os.getpid(), inode_of(other): os.getpid()}


def test_of_several_processes_it_is_the_lowest() -> None:
    with socket.socket() as sock:
        command = [sys.executable, "-c", SLEEPS]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, pass_fds=[sock.fileno()])
        inode = inode_of(sock)
        assert holders([inode]) == {inode: min(os.getpid(), child.pid)}
    assert holders([inode]) == {inode: child.pid}
    child.kill()
    child.communicate()
    assert holders([inode]) == {}


def test_processes_that_nobody_may_look_into_are_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_PROC", str(tmp_path))
    for pid in (2, *range(40, 8, -1)):
        (tmp_path / str(pid) / "fd").mkdir(parents=True)
        (tmp_path / str(pid) / "fd" / "3").symlink_to("socket:[7]")
    (tmp_path / "1").mkdir()  # its folder cannot be listed
    (tmp_path / "net").mkdir()
    (tmp_path / "2" / "fd" / "3").unlink()
    assert holders([7]) == {7: 9}


def test_where_nothing_is_asked_no_process_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_PROC", "/nowhere")
    assert holders([]) == {}


def test_a_command_is_its_words_and_harmless() -> None:
    command = [sys.executable, "-c", SLEEPS, "\x1b[31m", "ä"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    assert command_of(child.pid) == f"{sys.executable} -c {SLEEPS} ?[31m ä"
    child.kill()
    child.communicate()
    assert command_of(child.pid) is None


@pytest.mark.parametrize(
    ("words", "expected"), [(b"", None), (b"a b", "a b"), (b"\xff\n", "\N{REPLACEMENT CHARACTER}?")]
)
def test_a_command_line_is_made_readable(words: bytes, expected: str | None) -> None:
    assert readable(words) == expected
