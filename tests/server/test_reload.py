"""Reload on SIGHUP: which files are read, and what happens if one cannot be read."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from cmux_proxy import Access, Config, ConfigError, Observability
from cmux_proxy.server.access_log_writer import AccessLogWriter
from cmux_proxy.server.reload import can_reload, reload
from tests.helpers.fakes import FakeLoop


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "tokens"
    path.write_text("one\n")
    return path


def token_config(token_file: Path) -> Config:
    return Config(access=Access(tokens=["old"], auth_token_file=str(token_file)))


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (Config(), False),
        (Config(access=Access(tokens=["a"])), False),
        (Config(access=Access(tokens=["a"], auth_token_file="/a")), True),
        (Config(observability=Observability(access_log_file="-")), False),
        (Config(observability=Observability(access_log_file="/a")), True),
        (Config(observability=Observability(access_log="off", access_log_file="/a")), True),
    ],
)
def test_only_files_can_be_reloaded(config: Config, expected: bool) -> None:
    assert can_reload(config) is expected


def test_a_token_file_needs_its_tokens() -> None:
    with pytest.raises(ConfigError) as caught:
        Access(auth_token_file="/a")
    assert caught.value.field == "access.auth_token_file"


def test_all_subscribers_get_the_new_tokens(
    token_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    received: list[Sequence[str]] = []
    reload(token_config(token_file), None, [received.append, received.append])
    assert [list(tokens) for tokens in received] == [["one"], ["one"]]
    assert caplog.messages == ["tokens reloaded: 1"]


@pytest.mark.parametrize("problem", ["gone", "empty", "blank", "pipe"])
def test_an_unreadable_file_changes_nothing_and_does_not_block(
    problem: str, token_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reasons = {
        "gone": "No such file or directory",
        "empty": f"'{token_file}' has no token in it",
        "blank": "a token is at least one visible ASCII character, without blanks",
        "pipe": "it is not a regular file",
    }
    token_file.write_text({"blank": "a b\n"}.get(problem, ""))
    if problem in ("gone", "pipe"):
        token_file.unlink()
    if problem == "pipe":
        os.mkfifo(token_file)
    received: list[Sequence[str]] = []
    reload(token_config(token_file), None, [received.append])
    assert received == []
    [line] = caplog.messages
    assert line.startswith(f"cannot reload the tokens, the old ones stay valid: {token_file}: ")
    assert line.endswith(reasons[problem])


def test_the_log_is_reopened(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    config = Config(observability=Observability(access_log_file=str(path)))
    with AccessLogWriter(config.observability, FakeLoop().call_later) as log:
        path.unlink()
        reload(config, log, [])
    assert path.exists()
