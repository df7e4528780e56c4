"""The thread that writes the access log: where lines go, and what happens when they cannot."""

import logging
import os
import queue
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cmux_proxy.errors import ConfigError
from cmux_proxy.observe.access_log import LOGGER, log
from cmux_proxy.observe.record import REQUEST, Record
from cmux_proxy.server.log_writing import LogFile, Queueing, access_log, check_file
from cmux_proxy.settings import Observing


def record(path: str) -> Record:
    made = Record(REQUEST, "192.0.2.1", 0.0)
    made.path = path
    return made


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "access.log"


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    before = (list(LOGGER.handlers), LOGGER.propagate, LOGGER.level, threading.active_count())
    yield
    assert before == (
        LOGGER.handlers, LOGGER.propagate, LOGGER.level, threading.active_count(),
    )  # fmt: skip


def test_lines_are_appended_to_a_file(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place.write_text("before\n")
    with access_log(Observing("all", "text", str(place))):
        log(record("/a"))
        log(record("/\xe9"))
    first, second, third = place.read_text("ascii").splitlines()
    assert first == "before"
    assert " 192.0.2.1 request - /a " in second
    assert " /\\xe9 " in third
    assert capsys.readouterr() == ("", "")


def test_lines_go_to_standard_error_else(capsys: pytest.CaptureFixture[str]) -> None:
    with access_log(Observing("all", "json")):
        log(record("/a"))
    out, errors = capsys.readouterr()
    assert out == ""
    assert '"path":"/a"' in errors


def test_off_is_off(place: Path) -> None:
    with access_log(Observing("off", "text", str(place))) as file:
        assert file is None
        log(record("/a"))
    assert not place.exists()


def test_a_file_that_was_moved_away_is_made_anew(place: Path) -> None:
    with access_log(Observing("all", "text", str(place))) as file:
        assert file is not None
        log(record("/old"))
        # Moved away between two lines, the old one of which may still wait to be written.
        os.replace(place, place.with_suffix(".1"))
        file.reopen()
        log(record("/new"))
    assert "/new" in place.read_text()
    assert "/old" in place.read_text() + place.with_suffix(".1").read_text()


def test_where_it_cannot_be_made_anew_the_old_one_goes_on(
    place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with access_log(Observing("all", "text", str(place))) as file:
        assert file is not None
        moved = place.with_suffix(".1")
        os.replace(place, moved)
        place.mkdir()
        file.reopen()
        log(record("/new"))
    assert "/new" in moved.read_text()
    assert "the access log cannot be opened anew" in caplog.text


def test_a_full_disk_is_told_in_a_line_and_nothing_ends(caplog: pytest.LogCaptureFixture) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("needs a device that is full")
    file = LogFile("/dev/full")
    file.handle(logging.LogRecord("x", logging.INFO, "", 0, "text", None, None))
    assert caplog.messages == [
        "a line of the access log is lost: [Errno 28] No space left on device"
    ]
    # What it holds cannot be written at its end either.
    with pytest.raises(OSError, match="No space left"):
        file.close()


def test_a_full_queue_drops_lines_and_says_how_many() -> None:
    waiting: queue.Queue[logging.LogRecord] = queue.Queue(2)
    handler = Queueing(waiting)
    made = [logging.LogRecord("x", logging.INFO, "", 0, str(at), None, None) for at in range(7)]
    for each in made[:5]:
        handler.handle(each)
    assert [waiting.get().getMessage() for _ in range(2)] == ["0", "1"]
    for each in made[5:]:
        handler.handle(each)
    assert [waiting.get().getMessage() for _ in range(2)] == [
        "3 lines are missing here: the log was not written fast enough", "5",
    ]  # fmt: skip


@pytest.mark.parametrize("mode", ["errors", "all"])
def test_a_file_that_cannot_be_opened_is_an_error_at_the_start(mode: str, tmp_path: Path) -> None:
    observing = Observing(mode, "text", str(tmp_path))  # type: ignore[arg-type]
    with pytest.raises(ConfigError) as caught:
        check_file(observing)
    assert caught.value.field == "observing.access_log_file"
    assert caught.value.reason == f"{tmp_path} cannot be opened: Is a directory"


def test_a_file_that_nobody_writes_is_not_looked_at(tmp_path: Path) -> None:
    check_file(Observing("off", "text", str(tmp_path)))
    check_file(Observing("all"))
