"""The thread that writes the access log: where lines go, and what happens where that fails."""

import contextlib
import json
import os
import resource
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, SimpleQueue

import pytest

from cmux_proxy.config.sections import Observability
from cmux_proxy.observe.record import REQUEST, Record
from cmux_proxy.server import access_log_writer
from cmux_proxy.server.access_log_file import check_file
from cmux_proxy.server.access_log_writer import DEFAULT_LIMITS, AccessLogWriter, QueueLimits
from tests.helpers.timing import SOON

FULL = "the access log cannot be written: [Errno 28] No space left on device"
FAST = QueueLimits(idle_timeout=0.01)
TOO_LARGE = "the access log cannot be written: [Errno 27] File too large"


def record_of(path: str) -> Record:
    record = Record(REQUEST, "192.0.2.1", 0.0)
    record.path = path
    return record


def writer_of(log_file: Path, limits: QueueLimits = DEFAULT_LIMITS) -> AccessLogWriter:
    """Return a writer of all records, as text, to a file."""
    return AccessLogWriter(Observability("all", "text", str(log_file)), limits)


def write_one(log: AccessLogWriter, path: str) -> None:
    """Have a record written, and wait for the end of the thread that writes it."""
    others = set(threading.enumerate())
    log.put(record_of(path))
    for thread in set(threading.enumerate()) - others:
        thread.join(SOON)


def paths(log_file: Path) -> list[str]:
    """Return the paths in a log of whole lines, and the other lines as they are."""
    lines = log_file.read_text("ascii").splitlines()
    return [line.split()[4] if " request " in line else line for line in lines]


@contextlib.contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Limit the size of files, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def log_file(tmp_path: Path) -> Path:
    return tmp_path / "access.log"


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() == before


def test_lines_are_appended_to_a_file(log_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log_file.write_text("before\n")
    with writer_of(log_file) as log:
        log.put(record_of("/a"))
        log.put(record_of("/\xe9"))
    first, second, third = log_file.read_text("ascii").splitlines()
    assert first == "before"
    assert " 192.0.2.1 request - /a " in second
    assert " /\\xe9 " in third
    assert capsys.readouterr() == ("", "")


def test_without_a_file_lines_go_to_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    for path in ("/a", "/b"):
        with AccessLogWriter(Observability("all", "json")) as log:
            log.put(record_of(path))
            log.reopen()
    out, errors = capfd.readouterr()
    assert out == ""
    assert [json.loads(line)["path"] for line in errors.splitlines()] == ["/a", "/b"]


def test_there_is_a_thread_only_while_lines_come(log_file: Path) -> None:
    others = threading.active_count()
    with writer_of(log_file, FAST) as log:
        assert threading.active_count() == others
        for number in range(3):
            write_one(log, f"/{number}")
            assert threading.active_count() == others
            assert log_file.read_text().count("\n") == number + 1


def test_a_line_that_comes_as_the_thread_ends_is_written(
    log_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class LateQueue(SimpleQueue[object]):
        """Times out at first, though an item has come by then."""

        has_timed_out = False

        def get(self, block: bool = True, timeout: float | None = None) -> object:
            if not self.has_timed_out:
                self.has_timed_out = True
                raise Empty
            return super().get(block, timeout)

    monkeypatch.setattr(access_log_writer, "SimpleQueue", LateQueue)
    with writer_of(log_file, FAST) as log:
        write_one(log, "/late")
        assert " /late " in log_file.read_text()


def test_lines_wait_while_no_thread_can_be_started(
    log_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with writer_of(log_file) as log:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", _fails)
            log.put(record_of("/early"))
        assert log_file.read_text() == ""
    assert " /early " in log_file.read_text()


def test_many_lines_are_written_in_order_and_none_is_lost(log_file: Path) -> None:
    with writer_of(log_file) as log:
        for number in range(1000):
            log.put(record_of(f"/{number}"))
    paths = [line.split()[4] for line in log_file.read_text().splitlines()]
    assert paths == [f"/{number}" for number in range(1000)]


def test_a_file_that_was_moved_away_is_created_again(log_file: Path) -> None:
    moved = log_file.with_suffix(".1")
    with writer_of(log_file) as log:
        log.put(record_of("/old"))
        os.replace(log_file, moved)
        log.reopen()
        log.put(record_of("/new"))
    assert [line.split()[4] for line in moved.read_text().splitlines()] == ["/old"]
    assert [line.split()[4] for line in log_file.read_text().splitlines()] == ["/new"]


def test_where_it_cannot_be_created_again_the_old_one_is_kept(
    log_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    moved = log_file.with_suffix(".1")
    with writer_of(log_file) as log:
        os.replace(log_file, moved)
        log_file.mkdir()
        log.reopen()
        log.put(record_of("/new"))
    assert "/new" in moved.read_text()
    assert "the access log cannot be opened again" in caplog.text


def test_what_cannot_be_written_is_logged_once_and_counted(
    caplog: pytest.LogCaptureFixture, log_file: Path
) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("needs a device that is full")
    log_file.symlink_to("/dev/full")
    with writer_of(log_file, FAST) as log:
        for _ in range(3):
            write_one(log, "/a")
    assert caplog.messages == [FULL]
    assert log.lost() == {"queue_full": 0, "write_failed": 3}


def test_lines_lost_to_a_full_disk_are_reported_when_it_has_room_again(
    caplog: pytest.LogCaptureFixture, log_file: Path
) -> None:
    with writer_of(log_file, FAST) as log:
        write_one(log, "/whole")
        with files_of_at_most(log_file.stat().st_size + 30):
            # There is room for some bytes of the first line.
            for number in range(3):
                write_one(log, f"/lost-{number}")
        write_one(log, "/again")
        write_one(log, "/and-again")
        assert log.lost() == {"queue_full": 0, "write_failed": 3}
    first, torn, *others = paths(log_file)
    assert first == "/whole"
    assert len(torn) == 30
    assert others == [
        "3 lines are missing here: they came faster than written, or could not be written",
        "/again", "/and-again",
    ]  # fmt: skip
    assert caplog.messages == [
        TOO_LARGE, "the access log can be written again; lines lost: 3",
    ]  # fmt: skip


def test_of_a_batch_only_the_lines_that_were_not_written_whole_are_lost(
    monkeypatch: pytest.MonkeyPatch, log_file: Path
) -> None:
    with writer_of(log_file, FAST) as log:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", _fails)
            for number in range(5):
                log.put(record_of(f"/{number}"))
        with files_of_at_most(300):
            write_one(log, "/5")
        length = log_file.read_bytes().index(b"\n") + 1
        assert log_file.stat().st_size == 300
        whole = 300 // length
        assert log.lost() == {"queue_full": 0, "write_failed": 6 - whole}
        write_one(log, "/6")
    logged = paths(log_file)
    assert logged[:whole] == [f"/{number}" for number in range(whole)]
    assert logged[-2].startswith(f"{6 - whole} lines are missing here")
    assert logged[-1] == "/6"


def _fails(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


class Reader:
    """Reads from a descriptor to the end, in a thread, once it is started."""

    def __init__(self, descriptor: int) -> None:
        self.data = bytearray()
        self._descriptor = descriptor
        self._thread = threading.Thread(target=self._read)

    def start(self) -> None:
        """Start reading."""
        self._thread.start()

    def finish(self) -> None:
        """Wait until it has read to the end."""
        self._thread.join(SOON)
        os.close(self._descriptor)

    def _read(self) -> None:
        while chunk := os.read(self._descriptor, 65536):
            self.data.extend(chunk)


def reader_of(log_file: Path) -> Reader:
    """Return a reader of a new named pipe."""
    os.mkfifo(log_file)
    descriptor = os.open(log_file, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(descriptor, True)
    return Reader(descriptor)


def test_nothing_waits_for_a_reader_that_does_not_read(log_file: Path) -> None:
    reader = reader_of(log_file)
    with writer_of(log_file, QueueLimits(max_lines=3)) as log:
        long = record_of("/" + "x" * 1_000_000)
        # The first record fills the pipe, so that the thread waits; then the queue fills up.
        while not log.lost()["queue_full"]:
            log.put(long)
        reader.start()
    reader.finish()
    assert reader.data.count(b"1 lines are missing here") == 1


def test_the_queue_is_limited_in_bytes_too(log_file: Path) -> None:
    reader = reader_of(log_file)
    with writer_of(log_file, QueueLimits(max_bytes=100_000)) as log:
        long = record_of("/" + "p" * 2000)
        long.workspace = "w" * 255
        count = 0
        while not log.lost()["queue_full"]:
            log.put(long)
            count += 1
            assert log.waiting_bytes() <= 100_000
        # What has left the queue is in the pipe or in one batch.
        assert count < 1000
        reader.start()
    reader.finish()
    assert reader.data.count(b"/ppp") == count - 1
    assert log.lost() == {"queue_full": 1, "write_failed": 0}
    assert log.waiting_bytes() == 0


@pytest.mark.parametrize(
    ("path", "workspace"), [("/" + "p" * 2000, ""), ("", "w" * 255), ("/" + "p" * 20, "w" * 7)]
)
def test_the_texts_of_a_client_count_as_bytes_in_the_queue(
    log_file: Path, monkeypatch: pytest.MonkeyPatch, path: str, workspace: str
) -> None:
    with writer_of(log_file) as log, monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", _fails)
        log.put(record_of(""))
        size_without_texts = log.waiting_bytes()
        record = record_of(path)
        record.workspace = workspace
        log.put(record)
        size = log.waiting_bytes() - size_without_texts
    assert size == size_without_texts + len(path) + len(workspace)


def test_standard_error_that_is_non_blocking_gets_all_lines() -> None:
    descriptor, writer = os.pipe()
    os.set_blocking(writer, False)
    reader = Reader(descriptor)
    with AccessLogWriter(Observability("all"), stderr=writer) as log:
        for _ in range(200):
            log.put(record_of("/" + "x" * 2000))
        reader.start()
    os.close(writer)
    reader.finish()
    assert reader.data.count(b"\n") == 200
    assert log.lost() == {"queue_full": 0, "write_failed": 0}


def test_after_a_full_disk_rotation_continues_with_the_new_file(
    log_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("needs a device that is full")
    log_file.symlink_to("/dev/full")
    with writer_of(log_file) as log:
        log.put(record_of("/lost"))
        log_file.unlink()
        log.reopen()
        log.put(record_of("/new"))
    assert "/new" in log_file.read_text()
    assert caplog.messages == [FULL, "the access log can be written again; lines lost: 1"]


def test_a_pipe_without_a_reader_does_not_block(log_file: Path) -> None:
    os.mkfifo(log_file)
    observability = Observability("all", "text", str(log_file))
    check_file(observability)
    with AccessLogWriter(observability) as log:
        log.reopen()
        log.put(record_of("/early"))
        with log_file.open() as reader:
            assert " /early " in reader.readline()


def test_missing_lines_are_reported_in_json_too(log_file: Path) -> None:
    observability = Observability("all", "json", str(log_file))
    with AccessLogWriter(observability, QueueLimits(max_lines=0)) as log:
        log.put(record_of("/a"))
        log.put(record_of("/b"))
    [line] = map(json.loads, log_file.read_text().splitlines())
    assert line["missing"] == 2
    assert line["time"].endswith("Z")


def test_a_dash_is_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    observability = Observability("all", "text", "-")
    check_file(observability)
    with AccessLogWriter(observability) as log:
        log.put(record_of("/a"))
        log.reopen()
    out, errors = capfd.readouterr()
    assert " /a " in out
    assert errors == ""
