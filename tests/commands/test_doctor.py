"""cmux-proxy doctor, as a program: lines and exit statuses; tests/client has what is checked."""

import re
from pathlib import Path

import pytest

from cmux_proxy import Access, cli
from cmux_proxy.client.check_result import OK, PROBLEM, CheckResult
from cmux_proxy.commands.connect import TIMED_OUT
from cmux_proxy.commands.doctor import print_check_results
from tests.helpers.hosts import host_checking_server
from tests.helpers.origins import fixed_length, origin, silent
from tests.helpers.proxies import MODULE, environment, local_config
from tests.helpers.script import Stage, stage
from tests.helpers.tools import finish
from tests.helpers.wire import closed_port


async def examined(on: Stage, *flags: str) -> tuple[int, list[str]]:
    """Return the exit status and the lines; there are no complaints."""
    command = (*MODULE, "doctor", "--proxy", f"http://{on.address}", *flags)
    done = await finish(*command, variables=environment())
    assert done.errors == b""
    return done.status, done.out.decode().splitlines()


async def test_each_check_is_one_line() -> None:
    async with stage() as on, origin(fixed_length(b"hello\n")) as upstream:
        status, lines = await examined(on, "--port", str(upstream.port))
    assert status == 0
    assert [line[:18].split() for line in lines] == [
        ["ok", "proxy"], ["ok", "bound"], ["ok", "route"],
        ["ok", "host"], ["note", "websocket"], ["ok", "stream"],
    ]  # fmt: skip


async def test_a_problem_has_its_remedy_and_is_1() -> None:
    with host_checking_server() as port:
        async with stage() as on:
            status, lines = await examined(on, "--port", str(port), "--host", "a.example")
    assert status == 1
    (line,) = [line for line in lines if line.startswith("problem")]
    assert re.fullmatch(
        r"problem  host  +Host a\.example returns 403 .* -> start the proxy with --host-header .*",
        line,
    )


async def test_nothing_listening_is_1() -> None:
    async with stage() as on:
        with closed_port() as port:
            status, lines = await examined(on, "--port", str(port))
    assert (status, [line[:7] for line in lines]) == (1, ["ok     ", "problem", "problem"])


async def test_a_service_that_hangs_is_124() -> None:
    async with stage() as on, origin(silent) as upstream:
        status, _ = await examined(on, "--port", str(upstream.port), "--timeout", "100ms")
    assert status == TIMED_OUT


@pytest.mark.parametrize("is_timeout", [False, True])
def test_the_first_problem_decides(is_timeout: bool, capsys: pytest.CaptureFixture[str]) -> None:
    verdicts = [
        CheckResult(OK, "a", "b"),
        CheckResult(PROBLEM, "c", "d", "e", is_timeout),
        CheckResult(PROBLEM, "f", "g", "", not is_timeout),
    ]
    assert print_check_results(verdicts) == (TIMED_OUT if is_timeout else 1)
    assert capsys.readouterr().out == (
        "ok       a          b\nproblem  c          d -> e\nproblem  f          g\n"
    )


async def test_workspace_token_header_and_path_are_used(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")
    (tmp_path / "token").chmod(0o600)
    config = local_config(access=Access(tokens=["secret"]))
    async with stage(config) as on, origin(fixed_length(b"hello\n"), "127.18.0.9") as upstream:
        status, _ = await examined(
            on, "--port", str(upstream.port), "--workspace", "a-9", "--path", "/x?y",
            "--token-file", str(tmp_path / "token"), "--header", "A: 1",
        )  # fmt: skip
        first = upstream.requests[0]
    assert status == 0
    assert (first.target, first.field("a")) == ("/x?y", "1")


async def test_without_a_port_only_the_proxy_is_checked() -> None:
    async with stage() as on:
        status, lines = await examined(on)
    assert status == 0
    assert lines[0] == f"ok       proxy      http://{on.address} is a cmux-proxy"
    assert re.fullmatch(r"note     bound      ports in use: .*; check one with --port", lines[1])


async def test_a_host_may_name_the_port() -> None:
    async with stage() as on, origin(fixed_length(b"hello\n")) as upstream:
        status, lines = await examined(on, "--host", f"{upstream.port}.localhost")
    assert (status, len(lines)) == (0, 6)


async def test_no_proxy_is_1() -> None:
    with closed_port() as port:
        command = (*MODULE, "doctor", "--proxy", f"http://127.0.0.1:{port}")
        done = await finish(*command, variables=environment())
    assert (done.status, done.errors) == (1, b"")
    assert done.out.startswith(
        f"problem  proxy      cannot send to http://127.0.0.1:{port}".encode()
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--port", "0"], "0 is not in the range"),
        (["--host", "a.example"], "'a.example' does not begin with a port"),
        (["--port", "1", "--host", "a b"], "'a b' is not a host"),
        (["--port", "1", "--workspace", "a/"], "is empty"),
        (["--port", "1", "--path", "x"], "'x' is not a path"),
        (["--port", "1", "--path", "/a b"], "'/a b' is not a path"),
        (["--proxy", "vm"], "'vm' is not a URL"),
    ],
)
def test_a_bad_argument_is_2(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["doctor", *arguments]) == 2
    out, errors = capsys.readouterr()
    assert (out, errors.count("\n")) == ("", 1)
    assert expected in errors


def test_listeners_of_another_machine_or_without_sources_are_a_note(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: object) -> None:
        raise OSError

    with closed_port() as port:
        far = f"http://127.0.0.1.nip.invalid:{port}"
        assert cli.main(["doctor", "--proxy", far]) == 1
        expected = f"note     bound      {far} is another machine; check a port with --port\n"
        assert expected in capsys.readouterr().out
        monkeypatch.setattr("cmux_proxy.machine.listening.read_listening_sockets", fails)
        monkeypatch.setattr("cmux_proxy.machine.listening.query_listening_sockets", fails)
        assert cli.main(["doctor", "--proxy", f"http://127.0.0.1:{port}"]) == 1
        assert "note     bound      cannot list listening sockets: " in capsys.readouterr().out
        assert cli.main(["doctor", "--proxy", f"http://127.0.0.1:{port}", "--port", "1"]) == 1
        assert "note     bound      cannot list listening sockets: " in capsys.readouterr().out
