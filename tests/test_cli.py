"""The command line: flags, variables and defaults, exit statuses, and one line for each error."""

import logging
import os
import re
import shlex
import signal
import socket
import subprocess
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest

from cmux_proxy import (
    Access,
    Address,
    Config,
    ConfigError,
    ListenError,
    Observability,
    Tls,
    __version__,
    cli,
)
from cmux_proxy._build import HAS_NATIVE, best_loop, build_name
from cmux_proxy.server import launch
from cmux_proxy.server.event_loops import io_name
from tests.helpers.proxies import MODULE, environment
from tests.helpers.timing import LATER


class Option(NamedTuple):
    """A flag, its default in the help, its field, two values, and the values of the field."""

    flag: str
    default: str
    field: str
    values: tuple[str, str]
    expected: tuple[object, object]

    @property
    def variable(self) -> str:
        """The variable of the flag."""
        return "CMUX_" + self.flag[2:].replace("-", "_").upper()

    def read(self, config: Config) -> object:
        """Return the value of the field in a configuration."""
        return attrgetter(self.field)(config)


OPTIONS = [
    Option("--listen", "(0.0.0.0:8080,127.0.0.1:8080)", "listen",
           ("[::1]:1", "127.0.0.1:0"), (("[::1]:1",), ("127.0.0.1:0",))),
    Option("--unix-mode", "(set by the umask)", "unix_mode", ("660", "0777"), (0o660, 0o777)),
    Option("--upstream-host", "(127.0.0.1, or ::1 if it refuses)", "upstream_host",
           ("localhost", "[::1]"), ("localhost", "::1")),
    Option("--workspace-host", "(a loopback address per workspace)", "routing.workspace_host",
           ("{workspace}.a.example", "w-{workspace}"), ("{workspace}.a.example", "w-{workspace}")),
    Option("--host-suffix", "(none)", "routing.host_suffixes",
           ("Example.dev", "a.b,c.d.e"), (("example.dev",), ("a.b", "c.d.e"))),
    Option("--host-header", "(preserve)", "rewriting.host_header",
           ("upstream", "App.example:80"), ("upstream", "App.example:80")),
    Option("--forwarded", "(preserve)", "rewriting.forwarded",
           ("append", "strip"), ("append", "strip")),
    Option("--trusted-proxy", "(none)", "rewriting.trusted_proxies",
           ("::1", "10.0.0.0/8,fd00::/8"), (("::1",), ("10.0.0.0/8", "fd00::/8"))),
    Option("--allow-port", "(all)", "access.allow_ports",
           ("3000", "1-9, 80"), (("3000",), ("1-9", "80"))),
    Option("--deny-port", "(none)", "access.deny_ports",
           ("22", "1-1023,65535"), (("22",), ("1-1023", "65535"))),
    Option("--allow-host", "(all)", "access.allow_hosts",
           ("*.example", "localhost,[::1]"), (("*.example",), ("localhost", "[::1]"))),
    Option("--allow-client", "(all)", "access.allow_clients",
           ("::1", "10.0.0.0/8, 127.0.0.1"), (("::1",), ("10.0.0.0/8", "127.0.0.1"))),
    Option("--tls", "(files)", "tls.source", ("auto", "files"), ("auto", "files")),
    Option("--tls-cert", "(none)", "tls.certs", ("a.pem", "a.pem,/b.pem"),
           (("a.pem",), ("a.pem", "/b.pem"))),
    Option("--tls-key", "(the file of the certificate)", "tls.keys", ("a.key", "a.key,/b.key"),
           (("a.key",), ("a.key", "/b.key"))),
    Option("--tls-client-ca", "(off)", "tls.client_ca", ("/a", "b"), ("/a", "b")),
    Option("--plain-text", "(allow)", "tls.plain_text",
           ("redirect", "refuse"), ("redirect", "refuse")),
    Option("--https-port", "(none)", "upstreams.https_ports", ("5173", "5173,8443-8445"),
           (("5173",), ("5173", "8443-8445"))),
    Option("--h2c-port", "(none)", "upstreams.h2c_ports", ("50051", "50051,6000-6009"),
           (("50051",), ("50051", "6000-6009"))),
    Option("--upstream-ca", "(the system's; on loopback addresses any certificate)",
           "upstreams.ca", ("/a", "b"), ("/a", "b")),
    Option("--health-path", "(none)", "paths.health_path", ("/healthz", "/"), ("/healthz", "/")),
    Option("--tunnel-origin", "(none)", "tunnels.origins",
           ("https://vnc.example", "http://a:1,https://[::1]:8443"),
           (("https://vnc.example",), ("http://a:1", "https://[::1]:8443"))),
    Option("--connect-timeout", "(5s)", "timeouts.connect", ("0.5", "1m"), (0.5, 60.0)),
    Option("--connect-retry", "(0s)", "timeouts.connect_retry", ("500ms", "0"), (0.5, 0.0)),
    Option("--max-wait", "(60s)", "timeouts.max_wait", ("0", "5m"), (0.0, 300.0)),
    Option("--head-timeout", "(15s)", "timeouts.head", ("off", "2s"), (None, 2.0)),
    Option("--idle-timeout", "(75s)", "timeouts.idle", ("0", "1h"), (None, 3600.0)),
    Option("--body-timeout", "(60s)", "timeouts.body", ("500ms", "off"), (0.5, None)),
    Option("--response-timeout", "(off)", "timeouts.response", ("30", "1.5s"), (30.0, 1.5)),
    Option("--response-idle-timeout", "(off)", "timeouts.response_idle", ("2m", "9"), (120.0, 9.0)),
    Option("--tunnel-timeout", "(off)", "timeouts.tunnel", ("1h", "10"), (3600.0, 10.0)),
    Option("--drain-delay", "(0s)", "timeouts.drain_delay", ("5s", "0"), (5.0, 0.0)),
    Option("--drain-timeout", "(10s)", "timeouts.drain", ("0", "2.5"), (0.0, 2.5)),
    Option("--max-request-line", "(16k)", "limits.request_line", ("100", "8k"), (100, 8192)),
    Option("--max-header-section", "(64k)", "limits.header_section", ("1m", "2KiB"),
           (1048576, 2048)),
    Option("--max-header-fields", "(256)", "limits.header_fields", ("1", "0999"), (1, 999)),
    Option("--max-response-head", "(128k)", "limits.response_head", ("1K", "1MiB"),
           (1024, 1048576)),
    Option("--max-response-fields", "(1024)", "limits.response_fields", ("2", "3"), (2, 3)),
    Option("--max-chunk-extensions", "(16k)", "limits.chunk_extensions", ("1", "2k"), (1, 2048)),
    Option("--max-trailers", "(16k)", "limits.trailers", ("1", "2k"), (1, 2048)),
    Option("--max-buffer", "(256k)", "limits.buffer", ("16k", "100000"), (16384, 100000)),
    Option("--max-clients", "(40% of the file descriptors)", "limits.clients",
           ("10", "off"), (10, None)),
    Option("--max-clients-per-address", "(off)", "limits.clients_per_address",
           ("10", "off"), (10, None)),
    Option("--max-upstream-connections", "(off)", "limits.upstream_connections",
           ("10", "off"), (10, None)),
    Option("--max-idle-upstream-connections", "(as many as were busy recently)",
           "limits.idle_upstream_connections", ("0", "off"), (0, None)),
    Option("--http2-max-streams", "(100)", "limits.http2_streams", ("1", "250"), (1, 250)),
    Option("--http2-stream-window", "(65535)", "limits.http2_stream_window",
           ("64k", "100000"), (65536, 100000)),
    Option("--http2-connection-window", "(1024k)", "limits.http2_connection_window",
           ("65535", "2m"), (65535, 2097152)),
    Option("--upstream-idle-timeout", "(4s)", "timeouts.upstream_idle", ("0", "1m"), (0.0, 60.0)),
    Option("--access-log", "(errors)", "observability.access_log", ("all", "off"), ("all", "off")),
    Option("--log-format", "(text)", "observability.log_format",
           ("json", "combined"), ("json", "combined")),
    Option("--access-log-file", "(standard error)", "observability.access_log_file",
           ("/tmp/a", "b"), ("/tmp/a", "b")),
    Option("--admin", "(off)", "observability.admin",
           ("127.0.0.1:9", "[::1]:9"), ("127.0.0.1:9", "[::1]:9")),
    Option("--admin-unix-mode", "(600)", "observability.admin_unix_mode",
           ("660", "0666"), (0o660, 0o666)),
    Option("--otlp", "(off)", "observability.otlp",
           ("http://127.0.0.1:9", "https://a.b/c"), ("http://127.0.0.1:9", "https://a.b/c")),
    Option("--workers", "(1)", "workers", ("2", "03"), (2, 3)),
    Option("--loop", "(auto)", "loop", ("asyncio", "uvloop"), ("asyncio", "uvloop")),
    Option("--busy-poll", "(off)", "busy_poll", ("50us", "1.5ms"),
           (pytest.approx(50e-6), pytest.approx(1.5e-3))),
    Option("--log-level", "(info)", "log_level", ("debug", "error"), ("debug", "error")),
]  # fmt: skip
every_option = pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.flag)


class Ran:
    """A replacement for `run`: records configurations, and raises an error if it has one."""

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
    """Run the command line without serving and without variables."""
    for option in OPTIONS:
        monkeypatch.delenv(option.variable, raising=False)
    for variable in ("CMUX_AUTH_TOKEN", "CMUX_AUTH_TOKEN_FILE", "CMUX_CONFIG"):
        monkeypatch.delenv(variable, raising=False)
    stub = Ran()
    monkeypatch.setattr(launch, "run", stub)
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
def test_a_flag_overrides_its_variable_which_overrides_the_default(
    option: Option, ran: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(option.variable, option.values[0])
    assert option.read(ran.config()) == option.expected[0]
    assert option.read(ran.config(option.flag, option.values[1])) == option.expected[1]
    assert option.read(ran.config(f"{option.flag}={option.values[1]}")) == option.expected[1]


@every_option
def test_an_empty_variable_counts_as_not_set(
    option: Option, ran: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(option.variable, "")
    assert ran.config() == Config()


@pytest.mark.parametrize(
    ("flag", "field"),
    [
        ("--no-host-routing", "routing.no_host_routing"),
        ("--rewrite-origin", "rewriting.rewrite_origin"),
        ("--forwarded-rfc7239", "rewriting.forwarded_rfc7239"),
    ],
)
def test_some_flags_are_switches(
    flag: str, field: str, ran: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = attrgetter(field)
    assert read(ran.config()) is False
    assert read(ran.config(flag)) is True
    monkeypatch.setenv("CMUX_" + flag[2:].replace("-", "_").upper(), "1")
    assert read(ran.config()) is True


def test_listen_may_be_repeated_and_have_commas(ran: Ran) -> None:
    config = ran.config("--listen", "127.0.0.1:1, [::1]:2", "--listen=127.0.0.1:0")
    assert config.listen == ("127.0.0.1:1", "[::1]:2", "127.0.0.1:0")


def test_listen_in_the_variable_may_have_commas_and_the_flag_replaces_all_of_it(
    ran: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CMUX_LISTEN", "127.0.0.1:1, [::1]:2")
    assert ran.config().listen == ("127.0.0.1:1", "[::1]:2")
    assert ran.config("--listen", "127.0.0.1:3").listen == ("127.0.0.1:3",)


def test_the_log_level_is_that_of_the_flag(ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[dict[str, Any]] = []
    monkeypatch.setattr(logging, "basicConfig", lambda **options: given.append(options))
    ran.config("--log-level", "warning")
    assert [options["level"] for options in given] == ["WARNING"]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("0.0", 0), ("0ms", 0), ("200us", 200e-6), ("10ms", 0.01), ("0.01s", 0.01)],
)
def test_a_time_to_poll_has_a_unit_unless_it_is_0(text: str, seconds: float, ran: Ran) -> None:
    assert ran.config("--busy-poll", text).busy_poll == pytest.approx(seconds)


def test_an_error_lists_the_units_if_one_is_missing(
    ran: Ran, capsys: pytest.CaptureFixture[str]
) -> None:
    status, line = complaint(capsys, "--busy-poll", "50")
    assert (status, ran.configs) == (2, [])
    assert line.endswith("'50' needs a unit: us, ms or s")


@pytest.mark.parametrize("by", ["flag", "variable"])
def test_auto_is_one_worker_per_usable_cpu(
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


# Tokens


def token_file(folder: Path, content: bytes) -> str:
    path = folder / "tokens"
    path.write_bytes(content)
    return str(path)


def test_every_line_of_the_token_file_is_a_token(ran: Ran, tmp_path: Path) -> None:
    path = token_file(tmp_path, b"one\n\n  two \r\nthree")
    assert ran.config("--auth-token-file", path).access.tokens == ("one", "two", "three")


def test_a_token_may_be_in_a_variable_which_the_file_overrides(
    ran: Ran, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CMUX_AUTH_TOKEN", "of-the-variable")
    assert ran.config().access.tokens == ("of-the-variable",)
    monkeypatch.setenv("CMUX_AUTH_TOKEN_FILE", token_file(tmp_path, b"of-the-file\n"))
    assert ran.config().access.tokens == ("of-the-file",)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"\n \n", "has no token in it"),
        (b"na\xc3\xafve\n", "has bytes that are not ASCII"),
        (b"one two\n", "a token is at least one visible ASCII character, without blanks"),
    ],
    ids=["missing", "empty", "not ASCII", "a blank inside"],
)
def test_a_token_file_without_tokens_is_refused(
    content: bytes | None, expected: str,
    ran: Ran, tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    path = str(tmp_path / "none") if content is None else token_file(tmp_path, content)
    status, line = complaint(capsys, "--auth-token-file", path)
    assert (status, ran.configs) == (2, [])
    assert "--auth-token-file" in line
    assert line.endswith(expected)


def test_a_malformed_token_is_not_shown(
    ran: Ran, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CMUX_AUTH_TOKEN", "very secret")
    status, line = complaint(capsys)
    assert (status, ran.configs) == (2, [])
    assert "CMUX_AUTH_TOKEN" in line
    assert "secret" not in line


def test_a_token_is_not_in_the_repr_of_the_configuration(ran: Ran, tmp_path: Path) -> None:
    config = ran.config("--auth-token-file", token_file(tmp_path, b"hush"))
    assert "hush" not in repr(config)


# Errors


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        *[("--listen", text) for text in ["8080", "a:80", "::1:80", "127.0.0.1:65536"]],
        ("--listen", "127.0.0.1:80,nonsense"),
        *[("--listen", text) for text in ["unix:a", "fd://x"]],
        *[
            ("--unix-mode", text)
            for text in ["8", "66", "1660", "0o660", "rw-rw----", "\u0666" * 3]
        ],
        *[("--connect-timeout", text) for text in ["0", "-1", "soon"]],
        *[("--drain-timeout", text) for text in ["-1", "soon"]],
        *[("--connect-timeout", text) for text in ["nan", "inf"]],
        *[("--drain-timeout", text) for text in ["nan", "inf"]],
        *[("--upstream-host", text) for text in ["a b", "127.0.0.256", "[localhost]"]],
        *[("--workers", text) for text in ["0", "-1", "+1", "1.0", "two", "Auto", "٢", "1_0"]],
        ("--workers", "9" * 5000),
        ("--loop", "trio"),
        ("--log-level", "loud"),
        *[("--connect-timeout", text) for text in ["off", "5 s", "5d", "1e3", "1_0", "\u0665"]],
        *[("--head-timeout", text) for text in ["-1", "never", "OFF", "s"]],
        *[("--max-trailers", text) for text in ["-1", "1g", "1.5k", "k", "0x10", "1 k", "\u0665"]],
        *[("--max-buffer", text) for text in ["16383", "262145"]],
        *[("--max-header-fields", text) for text in ["0", "off", "1k", "-1", "1.0"]],
        *[("--http2-max-streams", text) for text in ["0", "off", "2147483648", "1.0"]],
        *[("--http2-stream-window", text) for text in ["65534", "2147483648", "off"]],
        *[("--max-clients", text) for text in ["0", "all", "-1", "1.0"]],
        *[("--workspace-host", text) for text in ["a", "{name}.a", "{workspace}.{workspace}"]],
        *[("--workspace-host", text) for text in ["{workspace}:80", "{workspace}.-a", "{}"]],
        *[("--host-suffix", text) for text in ["dev", ".dev", "*.a.b", "a.b:80", "a..b", "a b.c"]],
        *[
            ("--host-header", text)
            for text in ["a b", "a:0", "a:65536", "[::1", "a/", "u@a", "::1"]
        ],
        *[("--forwarded", text) for text in ["on", "Append"]],
        *[("--trusted-proxy", text) for text in ["10.0.0.1/8", "localhost"]],
        *[("--allow-port", text) for text in ["0", "65536", "9-1", "1-", "-1", "http", "80;81"]],
        *[("--deny-port", text) for text in ["80,", "80,81-", "8 0", "1--2", "+80"]],
        *[("--allow-host", text) for text in ["a:80", "*", "a.*", "*a", "a b", "http://a", "::1"]],
        *[("--allow-client", text) for text in ["10.0.0.1/8", "10.0.0", "localhost", "::1/129"]],
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
        (ConfigError("limits.buffer", "no"), (2, "Invalid value for '--max-buffer': no")),
        (
            ConfigError("timeouts.upstream_idle", "no"),
            (2, "Invalid value for '--upstream-idle-timeout': no"),
        ),
        (ConfigError("no.flag", "no"), (2, "Invalid value for 'no.flag': no")),
        (click.Abort(), (1, "interrupted")),
        (click.ClickException("two\nlines"), (1, "two lines")),
    ],
)
def test_an_error_at_the_start_is_one_line(
    error: Exception, expected: tuple[int, str], ran: Ran, capsys: pytest.CaptureFixture[str]
) -> None:
    ran.error = error
    assert complaint(capsys) == expected


# Output


def test_the_version_names_the_build(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr() == (
        f"cmux-proxy {__version__} ({build_name()}, {best_loop()})\n",
        "",
    )


@pytest.mark.parametrize("flag", ["--help", "-h"])
@every_option
def test_the_help_lists_every_flag_with_its_variable_and_default(
    option: Option, flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([flag]) == 0
    entries = re.split(r"\n  (?=-)", capsys.readouterr().out)
    [entry] = [entry for entry in entries if entry.startswith(f"{option.flag} ")]
    mine = " ".join(entry.split())
    assert f"env var: {option.variable};" in mine
    assert f"default: {option.default}" in mine


def test_the_status_is_that_of_the_run(ran: Ran) -> None:
    ran.status = 143
    assert cli.main([]) == 143


def test_it_prints_the_number_of_workers(capsys: pytest.CaptureFixture[str]) -> None:
    config = Config(workers=3)
    cli.announce(config, [Address("::1", 80), Address("127.0.0.1", 80)], "asyncio")
    assert capsys.readouterr().out.splitlines() == [
        "listening on [::1]:80",
        "listening on 127.0.0.1:80",
        f"cmux-proxy {__version__} ({build_name()}, asyncio, 3 workers)",
    ]


def test_it_warns_of_plain_text_beside_certificates_of_clients(
    caplog: pytest.LogCaptureFixture,
) -> None:
    allows = Tls(certs=["a"], client_ca="b")
    for tls, expected in ((allows, 1), (replace(allows, plain_text="refuse"), 0)):
        caplog.clear()
        cli.announce(Config(tls=tls), [Address("::1", 80)], "asyncio")
        assert len([line for line in caplog.messages if "--plain-text refuse" in line]) == expected
        assert len(caplog.messages) == expected


def test_it_warns_of_an_unprotected_address(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    addresses = [Address("0.0.0.0", 80), Address("::1", 80), Address("::", 81)]
    cli.announce(Config(), addresses, "asyncio")
    assert len(caplog.messages) == 1
    assert "0.0.0.0:80, [::]:81 can reach every port" in caplog.messages[0]
    assert "--auth-token-file" in caplog.messages[0]
    cli.announce(Config(access=Access(deny_ports=["22"])), addresses, "asyncio")
    assert len(caplog.messages) == 1


@pytest.mark.parametrize(
    ("admin", "access", "warns"),
    [
        ("0.0.0.0:0", Access(), True),
        ("[::]:9179", Access(allow_clients=["::1"], allow_ports=["1"]), True),
        ("0.0.0.0:9179", Access(tokens=["t"]), False),
        ("127.0.0.1:9179", Access(), False),
        ("unix:/run/admin.sock", Access(), False),
        (None, Access(), False),
    ],
)
def test_it_warns_of_an_unprotected_admin_listener(
    admin: str | None, access: Access, warns: bool, caplog: pytest.LogCaptureFixture
) -> None:
    config = Config(observability=Observability(admin=admin), access=access)
    cli.announce(config, [Address("::1", 80)], "asyncio")
    assert [f"every client that can reach {admin} can see" in text for text in caplog.messages] == [
        True
    ] * warns


def test_it_does_not_warn_of_a_unix_socket(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    cli.announce(Config(), [Address.parse("unix:/run/a.sock")], "asyncio")
    assert capsys.readouterr().out.splitlines()[0] == "listening on unix:/run/a.sock"
    assert caplog.messages == []


# Inherited sockets


def pass_sockets(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", str(count))


def test_inherited_sockets_replace_the_default(ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    pass_sockets(monkeypatch, 2)
    assert ran.config().listen == ("fd://3", "fd://4")


def test_sockets_for_another_process_are_an_error() -> None:
    done = subprocess.run(
        [*MODULE], capture_output=True, text=True,
        env=environment(LISTEN_PID="1", LISTEN_FDS="1"), timeout=LATER,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(
        r"cmux-proxy: error: cannot listen on LISTEN_FDS: it was passed to process 1 "
        r"\(LISTEN_PID\), and this is [0-9]+; use --listen fd://3 if that process left it open, "
        r"or listen on another address\n", done.stderr,
    )  # fmt: skip


@pytest.mark.parametrize("by", ["flag", "variable"])
def test_it_warns_of_inherited_sockets_that_listen_omits(
    by: str, ran: Ran, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pass_sockets(monkeypatch, 2)
    listen = "fd://4,127.0.0.1:1"
    if by == "variable":
        monkeypatch.setenv("CMUX_LISTEN", listen)
    config = ran.config(*(["--listen", listen] if by == "flag" else []))
    assert config.listen == ("fd://4", "127.0.0.1:1")
    assert caplog.messages == ["an inherited socket is not in --listen: fd://3"]


def test_it_prints_its_addresses_and_ends_with_0_on_a_signal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    announce = cli.announce

    def announce_and_signal(config: Config, addresses: list[Address], loop_name: str) -> None:
        announce(config, addresses, loop_name)
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(cli, "announce", announce_and_signal)
    monkeypatch.setattr("cmux_proxy.server.launch.raise_descriptor_limit", lambda: None)
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)
    assert cli.main(["--listen", "127.0.0.1:0,[::1]:0", "--loop", "asyncio"]) == 0
    *addresses, last = capsys.readouterr().out.splitlines()
    hosts = [line.removeprefix("listening on ").rpartition(":")[0] for line in addresses]
    assert hosts == ["127.0.0.1", "[::1]"]
    assert not any(line.endswith(":0") for line in addresses)
    assert last == f"cmux-proxy {__version__} ({build_name()}, {io_name('asyncio', HAS_NATIVE)})"


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_process_with_too_few_descriptors_exits_with_1_and_no_traceback(workers: str) -> None:
    done = subprocess.run(
        ["sh", "-c", 'ulimit -n 16; exec "$@"', "sh", *MODULE, "--listen", "127.0.0.1:0",
         "--workers", workers],
        env=environment(), capture_output=True, text=True, timeout=LATER, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "only 16 open files are allowed" in done.stderr


def test_a_process_whose_address_is_in_use_exits_with_1_and_no_traceback() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = subprocess.run(
            [*MODULE], capture_output=True, text=True,
            env=environment(CMUX_LISTEN=address), timeout=LATER,
        )  # fmt: skip
    reason = "the address is in use; `cmux-proxy ports` shows by whom"
    assert done.stderr == f"cmux-proxy: error: cannot listen on {address}: {reason}\n"
    assert (done.returncode, done.stdout) == (1, "")


@pytest.mark.parametrize("redirection", ["", ">&-", "2>&-", "<&- >&- 2>&-", ">/dev/full"])
def test_a_process_serves_even_if_its_output_fails(redirection: str) -> None:
    if redirection == ">/dev/full" and not os.path.exists("/dev/full"):
        pytest.skip("needs a device that is full")
    reading, writing = os.pipe()
    os.close(reading)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        command = shlex.join([*MODULE, "--listen", f"fd://{listening.fileno()}"])
        process = subprocess.Popen(
            ["sh", "-c", f"exec {command} {redirection}"],
            stdout=writing, pass_fds=[listening.fileno()], env=environment(),
        )  # fmt: skip
        os.close(writing)
        with socket.create_connection(listening.getsockname(), timeout=LATER) as client:
            listening.close()
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 400 ")
        process.send_signal(signal.SIGTERM)
        assert process.wait(LATER) == 0
