"""What listens: addresses, families, workspaces, processes."""

import os
import socket
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from cmux_proxy.machine import listening as module
from cmux_proxy.machine.listening import Listening, Survey, listening, ports_at
from cmux_proxy.machine.namespaces import Space
from cmux_proxy.machine.processes import command_of
from tests.helpers.workspaces import serving


def mine() -> list[Listening]:
    """Return what this process listens on."""
    return [each for each in listening() if each.pid == os.getpid()]


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
def test_it_tells_port_address_family_workspace_and_process(
    host: str, family: str, workspace: str | None
) -> None:
    with listener(host) as sock:
        command = command_of(os.getpid())
        port = sock.getsockname()[1]
        assert mine() == [Listening(port, host, workspace, os.getpid(), command)]
        assert mine()[0].family == family
    assert mine() == []


def test_the_ports_at_an_address_are_told_without_their_processes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with listener("127.0.0.1") as one, listener("::1") as other, listener("127.18.0.9") as third:
        ports = [sock.getsockname()[1] for sock in (one, other, third)]
        monkeypatch.setattr(module, "holders", None)
        for hosts, expected in (
            (["127.0.0.1"], {ports[0]}),
            (["127.0.0.1", "::1"], set(ports[:2])),
            (["127.18.0.9"], {ports[2]}),
        ):
            assert set(ports) & set(ports_at(hosts)) == expected
        assert ports_at(["::1"]) == sorted(ports_at(["::1"]))


def test_where_it_cannot_be_told_no_port_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> NoReturn:
        raise FileNotFoundError

    monkeypatch.setattr(module, "listening_now", fails)
    assert ports_at(["127.0.0.1"]) == []


def test_nothing_is_connected_to() -> None:
    with listener("127.0.0.1") as sock:
        assert len(mine()) == 1
        sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            sock.accept()


def test_psutil_is_of_the_same_opinion(monkeypatch: pytest.MonkeyPatch) -> None:
    with listener("127.0.0.1"), listener("::1"), listener("127.18.0.9"):
        here = mine()
        monkeypatch.setattr(sys, "platform", "darwin")
        assert mine() == here
        assert len(here) == 3


def test_ports_are_in_order_and_each_socket_is_there_once() -> None:
    with listener("127.0.0.1") as one, listener("127.0.0.1") as other, one.dup():
        ports = sorted(sock.getsockname()[1] for sock in (one, other))
        assert [each.port for each in mine()] == ports


def test_what_listens_inside_a_workspace_is_listed_with_it(
    registry: Path, way: tuple[str, ...]
) -> None:
    with serving("a-1", "127.0.0.1", 3000, way=way) as process:
        inside = [each for each in listening() if each.workspace == "a-1"]
        command = command_of(process.pid)
        assert inside == [Listening(3000, "127.0.0.1", "a-1", process.pid, command)]
        assert listening([Space(process.pid, "a-1", "127.18.0.1")]) == inside
        assert (3000, "127.0.0.1", None) not in {each[:3] for each in listening()}


def test_a_workspace_that_ends_meanwhile_has_nothing() -> None:
    assert listening([Space(2**22 + 1, "a-1", "127.18.0.1")]) == []


def test_processes_are_looked_for_only_where_a_socket_is_new(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[set[int]] = []

    def noted(inodes: set[int]) -> dict[int, int]:
        asked.append(inodes)
        return dict.fromkeys(inodes, os.getpid())

    monkeypatch.setattr(module, "holders", noted)
    survey = Survey()
    with listener("127.0.0.1") as one:
        survey.listening([Space()])
        with listener("127.0.0.1") as other:
            survey.listening([Space()])
            inode, first = os.fstat(other.fileno()).st_ino, os.fstat(one.fileno()).st_ino
    assert first in asked[0]
    assert inode in asked[1]
    assert first not in asked[1]


def test_a_process_that_has_ended_is_looked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    pids = iter([2**22 + 1, os.getpid()])
    with listener("127.0.0.1") as sock:
        inode = os.fstat(sock.fileno()).st_ino
        monkeypatch.setattr(module, "holders", lambda _inodes: {inode: next(pids)})
        survey = Survey()
        port = sock.getsockname()[1]
        found = [
            next(each.pid for each in survey.listening([Space()]) if each.port == port)
            for _ in range(2)
        ]
    assert found == [2**22 + 1, os.getpid()]


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
def test_an_address_covers_what_leads_to_it(address: str, host: str, covers: bool) -> None:
    assert Listening(80, address, None, None, None).covers(host) == covers
