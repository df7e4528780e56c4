"""The thread that writes the access log: where lines go, and what happens when they cannot."""

import contextlib
import json
import os
import resource
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, SimpleQueue

import pytest

from cmux_proxy.config.sections import Observability
from cmux_proxy.errors import ConfigError
from cmux_proxy.observe.record import REQUEST, Record
from cmux_proxy.server import access_log_writer
from cmux_proxy.server.access_log_writer import LogWriter, check_file
from tests.helpers.timing import SOON

FULL = "the access log cannot be written: [Errno 28] No space left on device"
TOO_LARGE = "the access log cannot be written: [Errno 27] File too large"


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


def paths(place: Path) -> list[str]:
    """Return the paths in a log of whole lines, and the other lines as they are."""
    lines = place.read_text("ascii").splitlines()
    return [line.split()[4] if " request " in line else line for line in lines]


@contextlib.contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let no file grow beyond a size, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


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
    with LogWriter(Observability("all", "text", str(place))) as log:
        log.put(record("/a"))
        log.put(record("/\xe9"))
    first, second, third = place.read_text("ascii").splitlines()
    assert first == "before"
    assert " 192.0.2.1 request - /a " in second
    assert " /\\xe9 " in third
    assert capsys.readouterr() == ("", "")


def test_lines_go_to_standard_error_else(capfd: pytest.CaptureFixture[str]) -> None:
    for path in ("/a", "/b"):
        with LogWriter(Observability("all", "json")) as log:
            log.put(record(path))
            log.reopen()
    out, errors = capfd.readouterr()
    assert out == ""
    assert [json.loads(line)["path"] for line in errors.splitlines()] == ["/a", "/b"]


def test_there_is_a_thread_only_while_lines_come(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access_log_writer, "_IDLE", 0.01)
    others = threading.active_count()
    with LogWriter(Observability("all", "text", str(place))) as log:
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

    monkeypatch.setattr(access_log_writer, "SimpleQueue", Late)
    monkeypatch.setattr(access_log_writer, "_IDLE", 0.01)
    with LogWriter(Observability("all", "text", str(place))) as log:
        write_one(log, "/late")
        assert " /late " in place.read_text()


def test_lines_wait_while_there_can_be_no_thread(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LogWriter(Observability("all", "text", str(place))) as log:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", _fails)
            log.put(record("/early"))
        assert place.read_text() == ""
    assert " /early " in place.read_text()


def test_many_lines_come_in_order_and_none_is_lost(place: Path) -> None:
    with LogWriter(Observability("all", "text", str(place))) as log:
        for number in range(1000):
            log.put(record(f"/{number}"))
    paths = [line.split()[4] for line in place.read_text().splitlines()]
    assert paths == [f"/{number}" for number in range(1000)]


def test_a_file_that_was_moved_away_is_made_anew(place: Path) -> None:
    moved = place.with_suffix(".1")
    with LogWriter(Observability("all", "text", str(place))) as log:
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
    with LogWriter(Observability("all", "text", str(place))) as log:
        os.replace(place, moved)
        place.mkdir()
        log.reopen()
        log.put(record("/new"))
    assert "/new" in moved.read_text()
    assert "the access log cannot be opened anew" in caplog.text


def test_what_cannot_be_written_is_told_in_a_line_and_counted(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, place: Path
) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("needs a device that is full")
    place.symlink_to("/dev/full")
    monkeypatch.setattr(access_log_writer, "_IDLE", 0.01)
    with LogWriter(Observability("all", "text", str(place))) as log:
        for _ in range(3):
            write_one(log, "/a")
    assert caplog.messages == [FULL]
    assert log.lost() == {"queue_full": 0, "write_failed": 3}


def test_lines_that_a_full_disk_has_cost_are_told_when_it_has_room_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, place: Path
) -> None:
    monkeypatch.setattr(access_log_writer, "_IDLE", 0.01)
    with LogWriter(Observability("all", "text", str(place))) as log:
        write_one(log, "/whole")
        with files_of_at_most(place.stat().st_size + 30):
            # Of the first there is room for some bytes.
            for number in range(3):
                write_one(log, f"/lost-{number}")
        write_one(log, "/again")
        write_one(log, "/and-again")
        assert log.lost() == {"queue_full": 0, "write_failed": 3}
    first, torn, *others = paths(place)
    assert first == "/whole"
    assert len(torn) == 30
    assert others == [
        "3 lines are missing here: they came faster than written, or could not be written",
        "/again", "/and-again",
    ]  # fmt: skip
    assert caplog.messages == [
        TOO_LARGE, "the access log can be written again; lines lost: 3",
    ]  # fmt: skip


def test_of_lines_that_are_written_at_once_those_are_lost_that_are_not_whole(
    monkeypatch: pytest.MonkeyPatch, place: Path
) -> None:
    with LogWriter(Observability("all", "text", str(place))) as log:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", _fails)
            for number in range(5):
                log.put(record(f"/{number}"))
        monkeypatch.setattr(access_log_writer, "_IDLE", 0.01)
        with files_of_at_most(300):
            write_one(log, "/5")
        length = place.read_bytes().index(b"\n") + 1
        assert place.stat().st_size == 300
        whole = 300 // length
        assert log.lost() == {"queue_full": 0, "write_failed": 6 - whole}
        write_one(log, "/6")
    told = paths(place)
    assert told[:whole] == [f"/{number}" for number in range(whole)]
    assert told[-2].startswith(f"{6 - whole} lines are missing here")
    assert told[-1] == "/6"


def _fails(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


class Reader:
    """Reads from a descriptor once it is told to, to the end."""

    def __init__(self, descriptor: int) -> None:
        self.got = bytearray()
        self._descriptor = descriptor
        self._thread = threading.Thread(target=self._read)

    def start(self) -> None:
        """Read from now on."""
        self._thread.start()

    def finish(self) -> None:
        """Wait for the end."""
        self._thread.join(SOON)
        os.close(self._descriptor)

    def _read(self) -> None:
        while piece := os.read(self._descriptor, 65536):
            self.got.extend(piece)


def reader_of(place: Path) -> Reader:
    """Return a reader of a new named pipe."""
    os.mkfifo(place)
    descriptor = os.open(place, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(descriptor, True)
    return Reader(descriptor)


def test_nobody_waits_for_who_does_not_read(monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    monkeypatch.setattr(access_log_writer, "MAX_LINES", 3)
    reader = reader_of(place)
    with LogWriter(Observability("all", "text", str(place))) as log:
        long = record("/" + "x" * 1_000_000)
        # The first of these fills the pipe, so that the thread waits; then the queue fills up.
        while not log.lost()["queue_full"]:
            log.put(long)
        reader.start()
    reader.finish()
    assert reader.got.count(b"1 lines are missing here") == 1


def test_what_waits_is_bounded_by_bytes_too(monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    monkeypatch.setattr(access_log_writer, "MAX_BYTES", 100_000)
    reader = reader_of(place)
    with LogWriter(Observability("all", "text", str(place))) as log:
        long = record("/" + "p" * 2000)
        long.workspace = "w" * 255
        count = 0
        while not log.lost()["queue_full"]:
            log.put(long)
            count += 1
            assert log._put - log._taken <= 100_000
        # What has gone is in the pipe, or is one batch.
        assert count < 1000
        reader.start()
    reader.finish()
    assert reader.got.count(b"/ppp") == count - 1
    assert log.lost() == {"queue_full": 1, "write_failed": 0}
    assert log._put == log._taken


def test_standard_error_that_somebody_has_made_non_blocking_gets_all_lines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    descriptor, writer = os.pipe()
    os.set_blocking(writer, False)
    monkeypatch.setattr(access_log_writer, "_STANDARD_ERROR", writer)
    reader = Reader(descriptor)
    with LogWriter(Observability("all")) as log:
        for _ in range(200):
            log.put(record("/" + "x" * 2000))
        reader.start()
    os.close(writer)
    reader.finish()
    assert reader.got.count(b"\n") == 200
    assert log.lost() == {"queue_full": 0, "write_failed": 0}


@pytest.mark.parametrize("mode", ["errors", "all"])
def test_a_file_that_cannot_be_opened_is_an_error_at_the_start(mode: str, tmp_path: Path) -> None:
    observability = Observability(mode, "text", str(tmp_path))  # type: ignore[arg-type]
    with pytest.raises(ConfigError) as caught:
        check_file(observability)
    assert caught.value.field == "observability.access_log_file"
    assert caught.value.reason == f"{tmp_path} cannot be opened: Is a directory"


def test_a_file_that_nobody_writes_is_not_looked_at(tmp_path: Path) -> None:
    check_file(Observability("off", "text", str(tmp_path)))
    check_file(Observability("all"))


def test_a_full_disk_does_not_end_the_log_when_the_file_is_turned_over(
    place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("needs a device that is full")
    place.symlink_to("/dev/full")
    with LogWriter(Observability("all", "text", str(place))) as log:
        log.put(record("/lost"))
        place.unlink()
        log.reopen()
        log.put(record("/new"))
    assert "/new" in place.read_text()
    assert caplog.messages == [FULL, "the access log can be written again; lines lost: 1"]


def test_a_pipe_that_nobody_has_opened_yet_keeps_nobody_waiting(place: Path) -> None:
    os.mkfifo(place)
    observability = Observability("all", "text", str(place))
    check_file(observability)
    with LogWriter(observability) as log:
        log.reopen()
        log.put(record("/early"))
        with place.open() as reader:
            assert " /early " in reader.readline()


def test_that_lines_are_missing_is_json_too(monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    monkeypatch.setattr(access_log_writer, "MAX_LINES", 0)
    with LogWriter(Observability("all", "json", str(place))) as log:
        log.put(record("/a"))
        log.put(record("/b"))
    [line] = map(json.loads, place.read_text().splitlines())
    assert line["missing"] == 2
    assert line["time"].endswith("Z")


def test_a_dash_is_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    observability = Observability("all", "text", "-")
    check_file(observability)
    with LogWriter(observability) as log:
        log.put(record("/a"))
        log.reopen()
    out, errors = capfd.readouterr()
    assert " /a " in out
    assert errors == ""


def test_a_socket_that_is_opened_as_a_file_says_what_helps() -> None:
    ours, its = socket.socketpair()
    with ours, its, pytest.raises(ConfigError) as caught:
        check_file(Observability("all", "text", f"/proc/self/fd/{its.fileno()}"))
    assert caught.value.reason.endswith("it is a socket: use - for standard output")
