"""The status of all workspaces, also where some of their holders fail."""

import json
import os
import socket
import threading
from pathlib import Path

import pytest

from cmux_proxy.isolation.registry import Registry
from cmux_proxy.isolation.status import Command, WorkspaceStatus, read_statuses
from tests.helpers.workspaces import need_namespaces, running

ADDRESS = "127.18.0.1"


def namespace_of(pid: int) -> int:
    return os.stat(f"/proc/{pid}/ns/net").st_ino


def test_each_status_has_commands_ports_and_namespace(registry: Path) -> None:
    need_namespaces(())
    with running("b-2", "sleep", "60") as second, running("a-1", "sleep", "60") as first:
        expected = [
            WorkspaceStatus(address, [Command(process.pid, name)], [], namespace_of(process.pid))
            for address, name, process in (
                ("127.18.0.1", "a-1", first),
                ("127.18.0.2", "b-2", second),
            )
        ]
        with Registry.open() as opened:
            assert read_statuses(opened) == expected


def respond(listener: socket.socket, data: bytes) -> None:
    channel, _ = listener.accept()
    with channel:
        channel.recv(1000)
        if data:
            channel.send(data)


@pytest.mark.parametrize(
    "data", [b'{"error": "no network namespace can be created"}', b"", b"not JSON"],
    ids=["it has failed", "it is ending", "it is not a holder"],
)  # fmt: skip
def test_a_holder_without_a_namespace_is_left_out(registry: Path, data: bytes) -> None:
    with Registry.open() as opened, opened.listen(ADDRESS) as listener:
        responder = threading.Thread(target=respond, args=(listener, data))
        responder.start()
        assert read_statuses(opened) == []
        responder.join()


@pytest.mark.parametrize(
    "fields",
    [
        {}, {"commands": 1, "ports": [], "namespace": 1},
        {"commands": [[1, "a", 2]], "ports": [], "namespace": 1},
        {"commands": [["\x1b[2J", "a"]], "ports": [], "namespace": 1},
        {"commands": [], "ports": ["\x1b[2J"], "namespace": 1},
        {"commands": [], "ports": [], "namespace": None},
    ],
)  # fmt: skip
def test_an_invalid_status_is_left_out(registry: Path, fields: dict[str, object]) -> None:
    with Registry.open() as opened, opened.listen(ADDRESS) as listener:
        responder = threading.Thread(target=respond, args=(listener, json.dumps(fields).encode()))
        responder.start()
        assert read_statuses(opened) == []
        responder.join()


def test_control_characters_in_a_name_are_escaped(registry: Path) -> None:
    fields = {"commands": [[1, "\x1b[31mred\n"], [2, "n" * 999]], "ports": [80], "namespace": 3}
    with Registry.open() as opened, opened.listen(ADDRESS) as listener:
        responder = threading.Thread(target=respond, args=(listener, json.dumps(fields).encode()))
        responder.start()
        commands = [Command(1, "\\x1b[31mred\\n"), Command(2, "n" * 255)]
        assert read_statuses(opened) == [WorkspaceStatus(ADDRESS, commands, [80], 3)]
        responder.join()


def test_a_holder_that_does_not_answer_is_left_out(registry: Path) -> None:
    with Registry.open() as opened, opened.listen(ADDRESS):
        assert read_statuses(opened, timeout=0.01) == []
