"""The command line: flags, variables and defaults, exit statuses, and one line for each error."""

import logging
import os
import signal
import socket
import subprocess
from collections.abc import Callable
from typing import Any, NamedTuple

import click
import pytest

from cmux_proxy import Address, Config, ConfigError, ListenError, __version__, cli
from cmux_proxy._build import build_name
from tests.helpers.proxies import MODULE, environment
from tests.helpers.timing import LATER


class Option(NamedTuple):
    """A flag, its variable, its default as shown, two values, and what Config makes of them."""

    flag: str
    variable: str
    default: str
    values: tuple[str, str]
    read: Callable[[Config], object]
    expected: tuple[object, object]


OPTIONS = [
    Option(
        "--listen", "CMUX_LISTEN", "(0.0.0.0:8080,127.0.0.1:8080)", ("[::1]:1", "127.0.0.1:0"),
        lambda config: config.listen, (("[::1]:1",), ("127.0.0.1:0",)),
    ),
    Option(
        "--upstream-host", "CMUX_UPSTREAM_HOST", "(127.0.0.1, and where that refuses ::1)",
        ("localhost", "[::1]"), lambda config: config.upstream_host, ("localhost", "::1"),
    ),
    Option(
        "--connect-timeout", "CMUX_CONNECT_TIMEOUT", "5.0", ("0.5", "60"),
        lambda config: config.timeouts.connect, (0.5, 60.0),
    ),
    Option(
        "--drain-timeout", "CMUX_DRAIN_TIMEOUT", "10.0", ("0", "2.5"),
        lambda config: config.timeouts.drain, (0.0, 2.5),
    ),
    Option(
        "--loop", "CMUX_LOOP", "auto", ("asyncio", "uvloop"),
        lambda config: config.loop, ("asyncio", "uvloop"),
    ),
    Option(
        "--busy-poll", "CMUX_BUSY_POLL", "(0, off)", ("50us", "1.5ms"),
        lambda config: config.busy_poll, (pytest.approx(50e-6), pytest.approx(1.5e-3)),
    ),
    Option(
        "--log-level", "CMUX_LOG_LEVEL", "info", ("debug", "error"),
        lambda config: config.log_level, ("debug", "error"),
    ),
    Option(
        "--workers", "CMUX_WORKERS", "1", ("2", "03"),
        lambda config: config.workers, (2, 3),
    ),
]  # fmt: skip
every_option = pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.flag)


class Ran:
    """Stands in for `run`: remembers the configurations, and raises an error if it has one."""

    def __init__(self) -> None:
        self.configs: list[Config] = []
        self.error: BaseException | None = None
        self.status = 0

    def __call__(self, config: Config, _on_start: object) -> int:
        self.configs.append(config)
        if self.error is not None:
            raise self.error
        return self.status

    def config(self, *arguments: str) -> Config:
        """Run the command line and return the configuration it made."""
        assert cli.main(arguments) == 0
        return self.configs.pop()


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> Ran:
    """Let the command line do all but serve; there are no variables."""
    for option in OPTIONS:
        monkeypatch.delenv(option.variable, raising=False)
    stub = Ran()
    monkeypatch.setattr(cli, "run", stub)
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)
    return stub


def complaint(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Run the command line; return its status and its one line on standard error."""
    status = cli.main(arguments)
    out, errors = capsys.readouterr()
    assert (out, errors.count("\n"), errors[:19]) == ("", 1, "cmux-proxy: error: ")
    return status, errors[19:-1]


# Flags, variables and defaults


def test_without_flags_and_variables_the_defaults_hold(ran: Ran) -> None:
    assert ran.config() == Config()


@every_option
def test_the_flag_beats_the_variable_and_the_variable_the_default(
    option: Option, ran: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(option.variable, option.values[0])
    assert option.read(ran.config()) == option.expected[0]
    assert option.read(ran.config(option.flag, option.values[1])) == option.expected[1]
    assert option.read(ran.config(f"{option.flag}={option.values[1]}")) == option.expected[1]


@every_option
def test_an_empty_variable_is_none_at_all(
    option: Option, ran: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(option.variable, "")
    assert ran.config() == Config()


def test_listen_may_be_repeated_and_have_commas(ran: Ran) -> None:
    config = ran.config("--listen", "127.0.0.1:1, [::1]:2", "--listen=127.0.0.1:0")
    assert config.listen == ("127.0.0.1:1", "[::1]:2", "127.0.0.1:0")


def test_listen_in_the_variable_may_have_commas_and_the_flag_replaces_all_of_it(
    ran: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CMUX_LISTEN", "127.0.0.1:1, [::1]:2")
    assert ran.config().listen == ("127.0.0.1:1", "[::1]:2")
    assert ran.config("--listen", "127.0.0.1:3").listen == ("127.0.0.1:3",)


def test_logging_goes_to_standard_error_at_the_level_that_is_asked_for(
    ran: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[dict[str, Any]] = []
    monkeypatch.setattr(logging, "basicConfig", lambda **options: given.append(options))
    ran.config("--log-level", "warning")
    assert [options["level"] for options in given] == ["WARNING"]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("0.0", 0), ("0ms", 0), ("200us", 200e-6), ("10ms", 0.01), ("0.01s", 0.01)],
)
def test_how_long_to_poll_has_a_unit_unless_it_is_0(text: str, seconds: float, ran: Ran) -> None:
    assert ran.config("--busy-poll", text).busy_poll == pytest.approx(seconds)


def test_a_number_without_a_unit_is_told_which_there_are(
    ran: Ran, capsys: pytest.CaptureFixture[str]
) -> None:
    status, line = complaint(capsys, "--busy-poll", "50")
    assert (status, ran.configs) == (2, [])
    assert line.endswith("'50' needs a unit: us, ms or s")


@pytest.mark.parametrize("by", ["flag", "variable"])
def test_auto_is_a_worker_for_each_cpu_that_may_be_used(
    by: str, ran: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    if by == "variable":
        monkeypatch.setenv("CMUX_WORKERS", "auto")
    arguments = ["--workers", "auto"] if by == "flag" else []
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {1, 3, 5}, raising=False)
    assert ran.config(*arguments).workers == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert ran.config(*arguments).workers == 7
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert ran.config(*arguments).workers == 1


# Errors


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        *[("--listen", text) for text in ["8080", "a:80", "::1:80", "127.0.0.1:65536"]],
        ("--listen", "127.0.0.1:80,nonsense"),
        *[("--connect-timeout", text) for text in ["0", "-1", "soon"]],
        *[("--drain-timeout", text) for text in ["-1", "soon"]],
        *[("--connect-timeout", text) for text in ["nan", "inf"]],
        *[("--drain-timeout", text) for text in ["nan", "inf"]],
        *[("--upstream-host", text) for text in ["a b", "127.0.0.256", "[localhost]"]],
        *[("--workers", text) for text in ["0", "-1", "+1", "1.0", "two", "Auto", "٢", "1_0"]],
        ("--workers", "9" * 5000),
        ("--loop", "trio"),
        ("--log-level", "loud"),
        *[("--busy-poll", text) for text in ["50", "0.001", "-1us", "1e3us", "5 us", "us", "nan"]],
        *[("--busy-poll", text) for text in ["\u0665us", "10.1ms", "1s", "1m"]],
    ],
)
@pytest.mark.parametrize("by", ["flag", "variable"])
def test_a_malformed_value_is_2_and_one_line_that_names_it(
    flag: str, value: str, by: str,
    ran: Ran, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    if by == "variable":
        monkeypatch.setenv("CMUX_" + flag[2:].replace("-", "_").upper(), value)
    status, line = complaint(capsys, *([flag, value] if by == "flag" else []))
    assert status == 2
    assert flag in line
    assert value.split(",")[-1] in line
    assert ran.configs == []


@pytest.mark.parametrize(
    "arguments", [["--nonsense"], ["nonsense"], ["--listen"], ["--loop"], ["--listen", ""]]
)
def test_a_malformed_command_line_is_2_and_one_line_that_names_it(
    arguments: list[str], ran: Ran, capsys: pytest.CaptureFixture[str]
) -> None:
    status, line = complaint(capsys, *arguments)
    assert (status, arguments[0] in line, ran.configs) == (2, True, [])


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ListenError("[::1]:80", "no"), (1, "cannot listen on [::1]:80: no")),
        (ConfigError("upstream_host", "no"), (2, "Invalid value for '--upstream-host': no")),
        (click.Abort(), (1, "interrupted")),
        (click.ClickException("two\nlines"), (1, "two lines")),
    ],
)
def test_what_goes_wrong_at_the_start_is_one_line(
    error: Exception, expected: tuple[int, str], ran: Ran, capsys: pytest.CaptureFixture[str]
) -> None:
    ran.error = error
    assert complaint(capsys) == expected


# What is printed


def test_the_version_names_the_build(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr() == (f"cmux-proxy {__version__} ({build_name()})\n", "")


@pytest.mark.parametrize("flag", ["--help", "-h"])
@every_option
def test_the_help_lists_every_flag_with_its_variable_and_default(
    option: Option, flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([flag]) == 0
    out = " ".join(capsys.readouterr().out.split())
    mine = out.partition(f"{option.flag} ")[2].partition(" --")[0]
    assert f"env var: {option.variable}" in mine
    assert f"default: {option.default}" in mine


def test_the_status_is_that_of_the_run(ran: Ran) -> None:
    ran.status = 143
    assert cli.main([]) == 143


def test_it_says_how_many_workers_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    cli._announce(3, [Address("::1", 80), Address("127.0.0.1", 80)], "asyncio")
    assert capsys.readouterr().out.splitlines() == [
        "listening on [::1]:80",
        "listening on 127.0.0.1:80",
        f"cmux-proxy {__version__} ({build_name()}, asyncio, 3 workers)",
    ]


def test_it_says_where_it_listens_and_ends_well_on_a_signal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    announced = cli._announce

    def told(workers: int, addresses: list[Address], loop_name: str) -> None:
        announced(workers, addresses, loop_name)
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(cli, "_announce", told)
    monkeypatch.setattr("cmux_proxy.server.worker.raise_limit", lambda: None)
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)
    assert cli.main(["--listen", "127.0.0.1:0,[::1]:0", "--loop", "asyncio"]) == 0
    *addresses, last = capsys.readouterr().out.splitlines()
    hosts = [line.removeprefix("listening on ").rpartition(":")[0] for line in addresses]
    assert hosts == ["127.0.0.1", "[::1]"]
    assert not any(line.endswith(":0") for line in addresses)
    assert last == f"cmux-proxy {__version__} ({build_name()}, asyncio)"


def test_a_process_whose_address_is_taken_exits_with_1_and_no_traceback() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = subprocess.run(
            [*MODULE], capture_output=True, text=True,
            env=environment(CMUX_LISTEN=address), timeout=LATER,
        )  # fmt: skip
    reason = "the address is in use by another program"
    assert done.stderr == f"cmux-proxy: error: cannot listen on {address}: {reason}\n"
    assert (done.returncode, done.stdout) == (1, "")
