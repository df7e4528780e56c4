"""cmux-proxy workspaces: what is isolated now, and nothing that is not."""

import os
import socket
import sys
from pathlib import Path

import pytest

from cmux_proxy import cli
from cmux_proxy.isolation.messages import receive, send
from cmux_proxy.isolation.registry import Registry
from tests.helpers.workspaces import listed, need_namespaces, running

LISTEN = """
import socket, sys
with socket.create_server(("127.0.0.1", 3000)), socket.create_server(
    ("::1", 5173), family=socket.AF_INET6
):
    sys.stdin = print("listening", flush=True) or open("/dev/null")
    import signal; signal.pause()
"""


def test_nothing_is_printed_without_isolated_workspaces(
    registry: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["workspaces"]) == 0
    assert capsys.readouterr() == ("", "")
    assert not registry.exists()


def test_other_files_in_the_registry_are_not_listed(
    registry: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    registry.mkdir(mode=0o700)
    (registry / "127.18.0.1").write_text("a file\n")
    (registry / "other").mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as stale:
        stale.bind(str(registry / "127.18.0.2"))
    assert cli.main(["workspaces"]) == 0
    assert capsys.readouterr() == ("", "")


def test_it_lists_ports_processes_and_commands(registry: Path) -> None:
    need_namespaces(())
    with (
        running("a-300", sys.executable, "-c", LISTEN) as server,
        running("b", "sh", "-c", "read \x1b[31m; sleep 60") as other,
    ):
        assert server.stdout is not None
        assert server.stdout.readline() == b"listening\n"
        rows = listed()
    assert rows[0][:4] == ["a-300", "127.18.1.44", "3000,5173", str(server.pid)]
    assert rows[1] == [
        "b", "127.18.45.229", "-", str(other.pid), "sh -c read ?[31m; sleep 60",
    ]  # fmt: skip


def test_a_hostile_name_from_the_holder_is_printed_with_escapes(registry: Path) -> None:
    need_namespaces(())
    with (
        running("a-300", "sleep", "60") as command,
        Registry.open() as opened,
        opened.connect("127.18.1.44", 5.0) as channel,  # type: ignore[union-attr]
    ):
        pidfd = os.pidfd_open(command.pid)
        send(channel, {"ask": "join", "name": "\x1b]0;mine\x07", "pid": command.pid}, [pidfd])
        os.close(pidfd)
        receive(channel).close()
        rows = listed()
    assert [row[0] for row in rows] == ["a-300", "\\x1b]0;mine\\x07"]


def test_the_help_of_the_proxy_lists_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    assert "workspaces    List the isolated workspaces" in capsys.readouterr().out
