"""psutil finds the same sockets; macOS needs it, and here it is a second opinion."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from cmux_proxy.machine.processes import read_command
from cmux_proxy.machine.psutil_backend import ProcessSocket, find_listening_sockets


def test_it_finds_the_listening_sockets_of_both_families_and_no_connections() -> None:
    command = read_command(os.getpid())
    with (
        socket.create_server(("127.0.0.1", 0)) as ipv4,
        socket.create_server(("::1", 0), family=socket.AF_INET6) as ipv6,
        socket.create_connection(ipv4.getsockname()[:2]),
    ):
        expected = {
            ProcessSocket(sock.getsockname()[1], host, os.getpid(), command)
            for sock, host in ((ipv4, "127.0.0.1"), (ipv6, "::1"))
        }
        assert {sock for sock in find_listening_sockets() if sock.pid == os.getpid()} == expected


def test_processes_that_end_or_are_not_accessible_are_skipped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    ended = psutil.Process(child.pid)
    child.wait()

    class Foreign(psutil.Process):
        def net_connections(self, kind: str = "inet") -> Any:
            raise psutil.AccessDenied

    def processes() -> Iterator[psutil.Process]:
        yield ended
        yield Foreign()
        yield psutil.Process()

    monkeypatch.setattr(psutil, "process_iter", processes)
    with socket.create_server(("127.0.0.1", 0)) as sock:
        assert [found.port for found in find_listening_sockets()] == [sock.getsockname()[1]]
