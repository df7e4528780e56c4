"""psutil sees what we see; it is what macOS has, and a second opinion here."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from cmux_proxy.machine.processes import command_of
from cmux_proxy.machine.psutil_backend import Found, listened_on


def test_it_finds_both_families_of_this_process_and_nothing_that_does_not_listen() -> None:
    mine = command_of(os.getpid())
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("::1", 0), family=socket.AF_INET6) as other,
        socket.create_connection(one.getsockname()[:2]),
    ):
        expected = {
            Found(sock.getsockname()[1], host, os.getpid(), mine)
            for sock, host in ((one, "127.0.0.1"), (other, "::1"))
        }
        assert {each for each in listened_on() if each.pid == os.getpid()} == expected


def test_processes_that_end_or_are_not_ours_are_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    gone = psutil.Process(child.pid)
    child.wait()

    class Foreign(psutil.Process):
        def net_connections(self, kind: str = "inet") -> Any:
            raise psutil.AccessDenied

    def some() -> Iterator[psutil.Process]:
        yield gone
        yield Foreign()
        yield psutil.Process()

    monkeypatch.setattr(psutil, "process_iter", some)
    with socket.create_server(("127.0.0.1", 0)) as sock:
        assert [each.port for each in listened_on()] == [sock.getsockname()[1]]
