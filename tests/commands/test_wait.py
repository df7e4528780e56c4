"""cmux-proxy wait PORT."""

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cmux_proxy import cli
from cmux_proxy.commands.connect import TIMED_OUT
from cmux_proxy.machine.listening import ListenerScanner
from tests.helpers.proxies import MODULE, environment
from tests.helpers.timing import LATER
from tests.helpers.wire import closed_port
from tests.helpers.workspaces import running, serving


@contextlib.contextmanager
def waiting(*arguments: str) -> Iterator["subprocess.Popen[str]"]:
    command = [*MODULE, "wait", *arguments]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment())
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def looked(*arguments: str) -> int:
    """Return the exit status of one look."""
    return cli.main(["wait", "--timeout", "0", *arguments])


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1", "::"])
def test_a_listening_port_ends_it_immediately_without_a_connection(
    host: str, capsys: pytest.CaptureFixture[str]
) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as sock:
        assert looked(str(sock.getsockname()[1])) == 0
        sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            sock.accept()
    assert capsys.readouterr() == ("", "")


def test_it_ends_when_a_program_begins_to_listen() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        with waiting(str(sock.getsockname()[1])) as process:
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.5)
            sock.listen()
            assert process.communicate(timeout=LATER)[1] == ""
            assert process.returncode == 0


def test_a_timeout_is_124_and_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with closed_port() as port:
        assert cli.main(["wait", str(port), "--timeout", "10ms"]) == TIMED_OUT
        expected = f"cmux-proxy: error: nothing has listened on port {port} within 0.01 s\n"
        assert capsys.readouterr() == ("", expected)
        assert looked(str(port)) == TIMED_OUT
        expected = f"cmux-proxy: error: nothing listens on port {port}\n"
        assert capsys.readouterr() == ("", expected)


def test_the_nearest_listener_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.2", 0)) as sock:
        port = sock.getsockname()[1]
        assert looked(str(port)) == TIMED_OUT
    text = capsys.readouterr().err
    assert f"nothing listens on port {port}; 127.0.0.2:{port} (" in text
    assert text.endswith("is not on 127.0.0.1 or ::1: have it listen there\n")


@pytest.mark.parametrize(
    ("workspace", "host", "status"),
    [("a-9", "127.18.0.9", 0), ("a-9", "0.0.0.0", 0), ("a-9", "127.0.0.1", 124),
     ("a-8", "127.18.0.9", 124)],
)  # fmt: skip
def test_a_workspace_has_its_own_address(workspace: str, host: str, status: int) -> None:
    with socket.create_server((host, 0)) as sock:
        assert looked(str(sock.getsockname()[1]), "--workspace", workspace) == status


def test_only_listeners_in_an_isolated_workspace_count(
    registry: Path, prefix: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with running("a-1", "sleep", "60", prefix=prefix), socket.create_server(("0.0.0.0", 0)) as sock:
        port = sock.getsockname()[1]
        assert looked(str(port), "--workspace", "a-1") == TIMED_OUT
        assert "is outside the workspace" in capsys.readouterr().err
        with serving("a-1", "127.0.0.1", port, prefix=prefix):
            assert looked(str(port), "--workspace", "a-1") == 0


def test_a_workspace_may_become_isolated_later(registry: Path, prefix: tuple[str, ...]) -> None:
    with (
        waiting("3000", "--workspace", "a-1") as process,
        serving("a-1", "::1", 3000, prefix=prefix),
    ):
        assert process.wait(LATER) == 0


def test_it_connects_if_the_list_may_be_incomplete(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(ListenerScanner, "scan", lambda *_: [])
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as sock:
        port = sock.getsockname()[1]
        assert looked(str(port)) == 0
        sock.accept()[0].close()
    assert looked(str(port)) == TIMED_OUT


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "Missing argument 'PORT'."),
        (["0"], "0 is not in the range 1<=x<=65535"),
        (["80", "--timeout", "x"], "'x' is not a duration"),
        (["80", "--workspace", "a/"], "'a/' is empty"),
    ],
)
def test_a_bad_argument_is_2(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["wait", *arguments]) == 2
    out, errors = capsys.readouterr()
    assert (out, errors.count("\n")) == ("", 1)
    assert expected in errors
