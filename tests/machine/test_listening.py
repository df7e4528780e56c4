"""Listening ports: addresses, families, workspaces, processes."""

import os
import socket
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from cmux_proxy.machine import listening as module
from cmux_proxy.machine.listening import (
    ListenerScanner,
    ListeningPort,
    find_listening_ports,
    find_ports_at,
)
from cmux_proxy.machine.namespaces import Namespace
from cmux_proxy.machine.processes import read_command
from tests.helpers.workspaces import serving


def own_ports() -> list[ListeningPort]:
    """Return the listening ports of this process."""
    return [port for port in find_listening_ports() if port.pid == os.getpid()]


def listener(host: str) -> socket.socket:
    return socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else 2)


@pytest.mark.parametrize(
    ("host", "family", "workspace"),
    [
        ("127.0.0.1", "IPv4", None),
        ("0.0.0.0", "IPv4", None),
        ("::1", "IPv6", None),
        ("::", "IPv6", None),
        ("127.18.1.44", "IPv4", "300"),
    ],
)
def test_a_listener_has_port_address_family_workspace_and_process(
    host: str, family: str, workspace: str | None
) -> None:
    with listener(host) as sock:
        command = read_command(os.getpid())
        port = sock.getsockname()[1]
        assert own_ports() == [ListeningPort(port, host, workspace, os.getpid(), command)]
        assert own_ports()[0].family == family
    assert own_ports() == []


def test_the_ports_at_an_address_are_found_without_their_processes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with listener("127.0.0.1") as ipv4, listener("::1") as ipv6, listener("127.18.0.9") as third:
        ports = [sock.getsockname()[1] for sock in (ipv4, ipv6, third)]
        monkeypatch.setattr(module, "find_socket_owners", None)
        for hosts, expected in (
            (["127.0.0.1"], {ports[0]}),
            (["127.0.0.1", "::1"], set(ports[:2])),
            (["127.18.0.9"], {ports[2]}),
        ):
            assert set(ports) & set(find_ports_at(hosts)) == expected
        assert find_ports_at(["::1"]) == sorted(find_ports_at(["::1"]))


def test_no_port_is_found_where_the_kernel_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> NoReturn:
        raise FileNotFoundError

    monkeypatch.setattr(module, "query_listening_sockets", fails)
    assert find_ports_at(["127.0.0.1"]) == []


def test_no_connection_is_opened() -> None:
    with listener("127.0.0.1") as sock:
        assert len(own_ports()) == 1
        sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            sock.accept()


def test_psutil_finds_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    with listener("127.0.0.1"), listener("::1"), listener("127.18.0.9"):
        here = own_ports()
        monkeypatch.setattr(sys, "platform", "darwin")
        assert own_ports() == here
        assert len(here) == 3


def test_ports_are_sorted_and_each_socket_is_listed_once() -> None:
    with listener("127.0.0.1") as first, listener("127.0.0.1") as second, first.dup():
        ports = sorted(sock.getsockname()[1] for sock in (first, second))
        assert [listener.port for listener in own_ports()] == ports


def test_a_listener_in_a_workspace_is_listed_with_the_workspace(
    registry: Path, prefix: tuple[str, ...]
) -> None:
    with serving("a-1", "127.0.0.1", 3000, prefix=prefix) as process:
        inside = [port for port in find_listening_ports() if port.workspace == "a-1"]
        command = read_command(process.pid)
        assert inside == [ListeningPort(3000, "127.0.0.1", "a-1", process.pid, command)]
        assert find_listening_ports([Namespace(process.pid, "a-1", "127.18.0.1")]) == inside
        assert (3000, "127.0.0.1", None) not in {port[:3] for port in find_listening_ports()}


def test_a_workspace_that_has_just_ended_has_no_listeners() -> None:
    assert find_listening_ports([Namespace(2**22 + 1, "a-1", "127.18.0.1")]) == []


def test_processes_are_looked_up_for_new_sockets_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lookups: list[set[int]] = []

    def record(inodes: set[int]) -> dict[int, int]:
        lookups.append(inodes)
        return dict.fromkeys(inodes, os.getpid())

    monkeypatch.setattr(module, "find_socket_owners", record)
    scanner = ListenerScanner()
    with listener("127.0.0.1") as old:
        scanner.scan([Namespace()])
        with listener("127.0.0.1") as new:
            scanner.scan([Namespace()])
            old_inode, new_inode = os.fstat(old.fileno()).st_ino, os.fstat(new.fileno()).st_ino
    assert old_inode in lookups[0]
    assert new_inode in lookups[1]
    assert old_inode not in lookups[1]


def test_the_process_is_looked_up_again_after_it_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    pids = iter([2**22 + 1, os.getpid()])
    with listener("127.0.0.1") as sock:
        inode = os.fstat(sock.fileno()).st_ino
        monkeypatch.setattr(module, "find_socket_owners", lambda _inodes: {inode: next(pids)})
        scanner = ListenerScanner()
        port = sock.getsockname()[1]
        owners = [
            next(listener.pid for listener in scanner.scan([Namespace()]) if listener.port == port)
            for _ in range(2)
        ]
    assert owners == [2**22 + 1, os.getpid()]


@pytest.mark.parametrize(
    ("address", "host", "covers"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("127.0.0.1", "::1", False),
        ("0.0.0.0", "127.18.0.1", True),
        ("0.0.0.0", "::1", False),
        ("::", "::1", True),
        ("::", "127.0.0.1", True),
        ("::1", "127.0.0.1", False),
    ],
)
def test_an_address_covers_the_hosts_that_reach_it(address: str, host: str, covers: bool) -> None:
    assert ListeningPort(80, address, None, None, None).covers(host) == covers
