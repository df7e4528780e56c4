"""cmux-proxy ports, at once and as it goes on."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cmux_proxy import cli
from cmux_proxy.machine.processes import read_command
from tests.helpers.proxies import MODULE, environment
from tests.helpers.timing import LATER
from tests.helpers.tools import tool
from tests.helpers.workspaces import finish_quietly, need_namespaces, serving


def listened(*flags: str) -> str:
    done = finish_quietly([*MODULE, "ports", *flags])
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def row_of(port: int) -> list[str]:
    """Return the only row of a port."""
    titles, *rows = [line.split(maxsplit=5) for line in listened().splitlines()]
    assert titles == ["PORT", "ADDRESS", "FAMILY", "WORKSPACE", "PID", "COMMAND"]
    (row,) = [row for row in rows if row[0] == str(port)]
    return row


@contextlib.contextmanager
def watching(*flags: str) -> Iterator["subprocess.Popen[str]"]:
    """Have `ports --watch` run, and end by Ctrl-C without a complaint."""
    process = subprocess.Popen(
        [*MODULE, "ports", "--watch", *flags],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
    )  # fmt: skip
    try:
        yield process
        process.send_signal(signal.SIGINT)
        _out, errors = process.communicate(timeout=LATER)
        assert (process.returncode, errors) == (0, "")
    finally:
        process.kill()
        process.communicate()


def next_line(process: "subprocess.Popen[str]", pattern: str) -> str:
    """Return the next line that matches a pattern; others may precede it."""
    assert process.stdout is not None
    for line in process.stdout:
        if re.search(pattern, line):
            return line.rstrip("\n")
    raise AssertionError(f"it ended without {pattern}")


@pytest.mark.parametrize(
    ("host", "family", "workspace"),
    [("127.0.0.1", "IPv4", "-"), ("::1", "IPv6", "-"), ("127.18.1.44", "IPv4", "300")],
)
def test_a_row_has_all_facts(host: str, family: str, workspace: str) -> None:
    kind = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=kind) as sock:
        port, pid = sock.getsockname()[1], os.getpid()
        command = read_command(pid)
        assert row_of(port) == [str(port), host, family, workspace, str(pid), command]


def test_json_is_one_array_of_objects() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        (row,) = [row for row in json.loads(listened("--json")) if row["port"] == port]
        assert row == {
            "port": port, "address": "127.0.0.1", "family": "IPv4", "workspace": None,
            "pid": os.getpid(), "command": read_command(os.getpid()),
        }  # fmt: skip


def test_listeners_inside_a_workspace_are_listed(registry: Path, prefix: tuple[str, ...]) -> None:
    with serving("a-1", "::1", 3000, prefix=prefix) as process:
        rows = [row for row in json.loads(listened("--json")) if row["workspace"] == "a-1"]
        assert [(row["port"], row["address"], row["pid"]) for row in rows] == [
            (3000, "::1", process.pid)
        ]


def test_nothing_is_printed_without_listeners(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("cmux_proxy.machine.listening.find_namespaces", list)
    assert cli.main(["ports"]) == 0
    assert capsys.readouterr() == ("", "")
    assert cli.main(["ports", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_changes_are_printed_immediately() -> None:
    with socket.create_server(("127.0.0.1", 0)) as first, watching() as process:
        titles = next_line(process, "PORT")
        port = first.getsockname()[1]
        shown = next_line(process, rf" {port} ")
        assert shown.startswith(f"   {port} ")
        # The columns stay where they are.
        assert shown.index("127.0.0.1") == titles.index("ADDRESS")
        assert shown.index(str(os.getpid())) == titles.index("PID")
        with socket.create_server(("127.0.0.1", 0)) as second:
            port = second.getsockname()[1]
            assert next_line(process, rf" {port} ").startswith("+  ")
        assert next_line(process, rf" {port} ").startswith("-  ")


def test_changes_are_json_one_per_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as first, watching("--json") as process:

        def event(port: int) -> dict[str, Any]:
            event = json.loads(next_line(process, rf'"port": {port},'))
            assert isinstance(event, dict)
            return event

        known = event(first.getsockname()[1])
        assert known == {
            "event": "present", "port": first.getsockname()[1], "address": "127.0.0.1",
            "family": "IPv4", "workspace": None, "pid": os.getpid(),
            "command": read_command(os.getpid()),
        }  # fmt: skip
        with socket.create_server(("::1", 0), family=socket.AF_INET6) as second:
            port = second.getsockname()[1]
            assert event(port)["event"] == "opened"
        assert event(port)["event"] == "closed"


def test_listeners_inside_a_workspace_open_and_close(
    registry: Path, prefix: tuple[str, ...]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as before, watching("--json") as process:
        next_line(process, f'"port": {before.getsockname()[1]},')
        with serving("a-1", "127.0.0.1", 3000, prefix=prefix):
            assert json.loads(next_line(process, '"a-1"'))["event"] == "opened"
        assert json.loads(next_line(process, '"a-1"'))["event"] == "closed"


def test_it_takes_no_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["ports", "3000"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def without_proc(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a command where /proc is an empty folder, as in a chroot."""
    need_namespaces()
    hidden = f'{tool("mount")} -t tmpfs none /proc && exec "$@"'
    command = [tool("unshare"), "--mount", "sh", "-c", hidden, "sh", *MODULE, *arguments]
    return finish_quietly(command)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting takes root")
def test_without_proc_only_the_processes_are_missing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        done = without_proc("ports", "--json")
        assert (done.returncode, done.stderr) == (0, "")
        (mine,) = [row for row in json.loads(done.stdout) if row["port"] == port]
        assert mine == {
            "port": port, "address": "127.0.0.1", "family": "IPv4", "workspace": None, "pid": None,
            "command": None,
        }  # fmt: skip
        assert without_proc("wait", str(port), "--timeout", "0").returncode == 0
    assert without_proc("wait", str(port), "--timeout", "0").returncode == 124


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting takes root")
def test_without_proc_it_warns_of_hidden_workspaces(registry: Path) -> None:
    with serving("a-1", "127.0.0.1", 3000):
        done = without_proc("ports")
        hidden = "cannot look into isolated workspaces: /proc is not mounted\n"
        assert (done.returncode, done.stderr) == (0, f"cmux-proxy: WARNING: {hidden}")
        waited = without_proc("wait", "3000", "--workspace", "a-1", "--timeout", "0")
        assert (waited.returncode, waited.stderr) == (1, f"cmux-proxy: error: {hidden}")
        doctor = without_proc("doctor", "--port", "3000", "--workspace", "a-1")
        assert f"note     bound      {hidden}" in doctor.stdout
    entered = without_proc("run", "--workspace", "a-1", "true")
    expected = "cmux-proxy: error: isolated workspaces need /proc, which is not mounted here\n"
    assert (entered.returncode, entered.stderr) == (125, expected)


@pytest.mark.parametrize("arguments", [("ports",), ("ports", "--json"), ("wait", "3000")])
def test_without_any_source_it_is_an_error(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: object) -> None:
        raise OSError

    monkeypatch.setattr("cmux_proxy.machine.listening.read_listening_sockets", fails)
    monkeypatch.setattr("cmux_proxy.machine.listening.query_listening_sockets", fails)
    assert cli.main(arguments) == 1
    assert capsys.readouterr() == (
        "",
        "cmux-proxy: error: cannot list listening sockets: /proc is not mounted, and netlink "
        "does not answer\n",
    )
