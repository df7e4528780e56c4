"""How many lines of an access log have arrived."""

import time
from pathlib import Path

import pytest

from bench.load import logs
from bench.load.logs import AccessLog


def test_only_ended_lines_after_the_start_count(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("before\n")
    log = AccessLog(path, path.stat().st_size)
    with path.open("a") as file:
        file.write("one\ntwo\nthr")
    assert log.await_lines(2) == 2
    with path.open("a") as file:
        file.write("ee\n")
    assert log.await_lines(1) == 1


def test_lines_that_come_later_are_awaited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log"
    path.touch()

    def write(_pause: float) -> None:
        with path.open("a") as file:
            file.write("line\n" * 100)

    monkeypatch.setattr(time, "sleep", write)
    assert AccessLog(path, 0).await_lines(1000) == 1000


def test_missing_lines_are_not_awaited_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "_COMPLETE_AFTER", 0.0)
    path = tmp_path / "log"
    path.write_text("line\n")
    assert AccessLog(path, 0).await_lines(2) == 1
