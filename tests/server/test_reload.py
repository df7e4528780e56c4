"""What is read again at a hang-up, and what happens when it cannot be read."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from cmux_proxy import Access, Config, ConfigError, Observability
from cmux_proxy.server.access_log_writer import LogWriter
from cmux_proxy.server.reload import can_reload, reload


@pytest.fixture
def place(tmp_path: Path) -> Path:
    file = tmp_path / "tokens"
    file.write_text("one\n")
    return file


def configured(place: Path) -> Config:
    return Config(access=Access(tokens=["old"], token_file=str(place)))


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (Config(), False),
        (Config(access=Access(tokens=["a"])), False),
        (Config(access=Access(tokens=["a"], token_file="/a")), True),
        (Config(observability=Observability(access_log_file="-")), False),
        (Config(observability=Observability(access_log_file="/a")), True),
        (Config(observability=Observability(access_log="off", access_log_file="/a")), True),
    ],
)
def test_files_are_what_can_be_read_again(config: Config, expected: bool) -> None:
    assert can_reload(config) is expected


def test_a_token_file_comes_with_its_tokens() -> None:
    with pytest.raises(ConfigError) as caught:
        Access(token_file="/a")
    assert caught.value.field == "access.token_file"


def test_everybody_who_checks_gets_the_new_tokens(
    place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    taken: list[Sequence[str]] = []
    reload(configured(place), None, [taken.append, taken.append])
    assert [list(each) for each in taken] == [["one"], ["one"]]
    assert caplog.messages == ["tokens read again: 1"]


@pytest.mark.parametrize("what", ["gone", "empty", "blank", "pipe"])
def test_what_cannot_be_read_changes_nothing_and_keeps_nobody_waiting(
    what: str, place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reasons = {
        "gone": "No such file or directory",
        "empty": f"'{place}' has no token in it",
        "blank": "a token is at least one visible ASCII character, without blanks",
        "pipe": "it is no regular file",
    }
    place.write_text({"blank": "a b\n"}.get(what, ""))
    if what in ("gone", "pipe"):
        place.unlink()
    if what == "pipe":
        os.mkfifo(place)
    taken: list[Sequence[str]] = []
    reload(configured(place), None, [taken.append])
    assert taken == []
    [line] = caplog.messages
    assert line.startswith(f"the tokens cannot be read again, and stay as they were: {place}: ")
    assert line.endswith(reasons[what])


def test_the_log_is_opened_again(tmp_path: Path) -> None:
    place = tmp_path / "access.log"
    config = Config(observability=Observability(access_log_file=str(place)))
    with LogWriter(config.observability) as log:
        place.unlink()
        reload(config, log, [])
    assert place.exists()
