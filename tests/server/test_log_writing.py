"""The thread that writes the access log: where lines go, and what happens when they cannot."""

import json
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, SimpleQueue

import pytest

from cmux_proxy.errors import ConfigError
from cmux_proxy.observe.record import REQUEST, Record
from cmux_proxy.server import log_writing
from cmux_proxy.server.log_writing import LogWriter, check_file
from cmux_proxy.settings import Observing
from tests.helpers.timing import SOON

FULL = "the access log cannot be written: [Errno 28] No space left on device"


def record(path: str) -> Record:
    made = Record(REQUEST, "192.0.2.1", 0.0)
    made.path = path
    return made


def write_one(log: LogWriter, path: str) -> None:
    """Have a record written, and wait for the end of the thread that writes it."""
    others = set(threading.enumerate())
    log.put(record(path))
    for thread in set(threading.enumerate()) - others:
        thread.join(SOON)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "access.log"


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() == before


def test_lines_are_appended_to_a_file(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place.write_text("before\n")
    with LogWriter(Observing("all", "text", str(place))) as log:
        log.put(record("/a"))
        log.put(record("/\xe9"))
    first, second, third = place.read_text("ascii").splitlines()
    assert first == "before"
    assert " 192.0.2.1 request - /a " in second
    assert " /\\xe9 " in third
    assert capsys.readouterr() == ("", "")


def test_lines_go_to_standard_error_else(capsys: pytest.CaptureFixture[str]) -> None:
    with LogWriter(Observing("all", "json")) as log:
        log.put(record("/a"))
        log.reopen()
    out, errors = capsys.readouterr()
    assert out == ""
    assert '"path":"/a"' in errors
    assert not sys.stderr.closed


def test_there_is_a_thread_only_while_lines_come(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_writing, "_IDLE", 0.01)
    others = threading.active_count()
    with LogWriter(Observing("all", "text", str(place))) as log:
        assert threading.active_count() == others
        for number in range(3):
            write_one(log, f"/{number}")
            assert threading.active_count() == others
            assert place.read_text().count("\n") == number + 1


def test_a_line_that_comes_as_the_thread_gives_up_is_written(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Late(SimpleQueue[object]):
        """Finds nothing in its time at first, though something has come by then."""

        gave_up = False

        def get(self, block: bool = True, timeout: float | None = None) -> object:
            if not self.gave_up:
                self.gave_up = True
                raise Empty
            return super().get(block, timeout)

    monkeypatch.setattr(log_writing, "SimpleQueue", Late)
    monkeypatch.setattr(log_writing, "_IDLE", 0.01)
    with LogWriter(Observing("all", "text", str(place))) as log:
        write_one(log, "/late")
        assert " /late " in place.read_text()


def test_lines_wait_while_there_can_be_no_thread(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with LogWriter(Observing("all", "text", str(place))) as log:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", fails)
            log.put(record("/early"))
        assert place.read_text() == ""
    assert " /early " in place.read_text()


def test_many_lines_come_in_order_and_none_is_lost(place: Path) -> None:
    with LogWriter(Observing("all", "text", str(place))) as log:
        for number in range(1000):
            log.put(record(f"/{number}"))
    paths = [line.split()[4] for line in place.read_text().splitlines()]
    assert paths == [f"/{number}" for number in range(1000)]


def test_a_file_that_was_moved_away_is_made_anew(place: Path) -> None:
    moved = place.with_suffix(".1")
    with LogWriter(Observing("all", "text", str(place))) as log:
        log.put(record("/old"))
        os.replace(place, moved)
        log.reopen()
        log.put(record("/new"))
    assert [line.split()[4] for line in moved.read_text().splitlines()] == ["/old"]
    assert [line.split()[4] for line in place.read_text().splitlines()] == ["/new"]


def test_where_it_cannot_be_made_anew_the_old_one_goes_on(
    place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    moved = place.with_suffix(".1")
    with LogWriter(Observing("all", "text", str(place))) as log:
        os.replace(place, moved)
        place.mkdir()
        log.reopen()
        log.put(record("/new"))
    assert "/new" in moved.read_text()
    assert "the access log cannot be opened anew" in caplog.text


def test_what_cannot_be_written_is_told_in_a_line(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("needs a device that is full")
    with open("/dev/full", "w", encoding="ascii") as full:
        monkeypatch.setattr(sys, "stderr", full)
        monkeypatch.setattr(log_writing, "_IDLE", 0.01)
        with LogWriter(Observing("all")) as log:
            for _ in range(3):
                write_one(log, "/a")
        with pytest.raises(OSError, match="No space"):
            full.close()
    assert caplog.messages == [FULL]


def test_nobody_waits_for_who_does_not_read(monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    monkeypatch.setattr(log_writing, "MOST_WAITING", 3)
    os.mkfifo(place)
    reader = os.open(place, os.O_RDONLY | os.O_NONBLOCK)
    with LogWriter(Observing("all", "text", str(place))) as log:
        long = record("/" + "x" * 1_000_000)
        # The first of these fills the pipe, so that the thread waits; then the queue fills up.
        while not log._dropped:
            log.put(long)
        os.set_blocking(reader, True)
        got = b""
        while b"lines are missing here" not in got:
            got += os.read(reader, 1_000_000)
        os.set_blocking(reader, False)
    os.close(reader)


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


def test_a_full_disk_does_not_end_the_log_when_the_file_is_turned_over(
    place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("needs a device that is full")
    place.symlink_to("/dev/full")
    with LogWriter(Observing("all", "text", str(place))) as log:
        log.put(record("/lost"))
        place.unlink()
        log.reopen()
        log.put(record("/new"))
    assert "/new" in place.read_text()
    assert caplog.messages == [FULL]


def test_a_pipe_that_nobody_has_opened_yet_keeps_nobody_waiting(place: Path) -> None:
    os.mkfifo(place)
    observing = Observing("all", "text", str(place))
    check_file(observing)
    with LogWriter(observing) as log:
        log.reopen()
        log.put(record("/early"))
        with place.open() as reader:
            assert " /early " in reader.readline()


def test_that_lines_are_missing_is_json_too(monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    monkeypatch.setattr(log_writing, "MOST_WAITING", 0)
    with LogWriter(Observing("all", "json", str(place))) as log:
        log.put(record("/a"))
        log.put(record("/b"))
    [line] = map(json.loads, place.read_text().splitlines())
    assert line["missing"] == 2
    assert line["time"].endswith("Z")
