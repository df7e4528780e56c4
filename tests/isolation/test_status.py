"""What is known of all workspaces, whatever some of their keepers do."""

import json
import os
import socket
import threading
from pathlib import Path

import pytest

from cmux_proxy.isolation import status
from cmux_proxy.isolation.registry import Registry
from cmux_proxy.isolation.status import Command, Status, statuses
from tests.helpers.workspaces import need_namespaces, running

ADDRESS = "127.18.0.1"


def namespace_of(pid: int) -> int:
    return os.stat(f"/proc/{pid}/ns/net").st_ino


def test_each_tells_its_commands_ports_and_namespace(registry: Path) -> None:
    need_namespaces(())
    with running("b-2", "sleep", "60") as second, running("a-1", "sleep", "60") as first:
        expected = [
            Status(address, [Command(each.pid, name)], [], namespace_of(each.pid))
            for address, name, each in (
                ("127.18.0.1", "a-1", first),
                ("127.18.0.2", "b-2", second),
            )
        ]
        with Registry.open() as opened:
            assert statuses(opened) == expected


def answer(listener: socket.socket, data: bytes) -> None:
    channel, _ = listener.accept()
    with channel:
        channel.recv(1000)
        if data:
            channel.send(data)


@pytest.mark.parametrize(
    "data", [b'{"error": "no network namespace can be made"}', b"", b"not JSON"],
    ids=["it has failed", "it leaves", "it is none"],
)  # fmt: skip
def test_a_keeper_without_a_workspace_is_left_out(registry: Path, data: bytes) -> None:
    with Registry.open() as opened, opened.listen(ADDRESS) as listener:
        answering = threading.Thread(target=answer, args=(listener, data))
        answering.start()
        assert statuses(opened) == []
        answering.join()


@pytest.mark.parametrize(
    "said",
    [
        {}, {"commands": 1, "ports": [], "namespace": 1},
        {"commands": [[1, "a", 2]], "ports": [], "namespace": 1},
        {"commands": [["\x1b[2J", "a"]], "ports": [], "namespace": 1},
        {"commands": [], "ports": ["\x1b[2J"], "namespace": 1},
        {"commands": [], "ports": [], "namespace": None},
    ],
)  # fmt: skip
def test_an_answer_that_is_no_status_is_left_out(registry: Path, said: dict[str, object]) -> None:
    with Registry.open() as opened, opened.listen(ADDRESS) as listener:
        answering = threading.Thread(target=answer, args=(listener, json.dumps(said).encode()))
        answering.start()
        assert statuses(opened) == []
        answering.join()


def test_a_name_has_nothing_that_a_terminal_would_obey(registry: Path) -> None:
    said = {"commands": [[1, "\x1b[31mred\n"], [2, "n" * 999]], "ports": [80], "namespace": 3}
    with Registry.open() as opened, opened.listen(ADDRESS) as listener:
        answering = threading.Thread(target=answer, args=(listener, json.dumps(said).encode()))
        answering.start()
        commands = [Command(1, "\\x1b[31mred\\n"), Command(2, "n" * 255)]
        assert statuses(opened) == [Status(ADDRESS, commands, [80], 3)]
        answering.join()


def test_a_keeper_that_does_not_answer_is_left_out(
    registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "_ANSWERS_WITHIN", 0.01)
    with Registry.open() as opened, opened.listen(ADDRESS):
        assert statuses(opened) == []
