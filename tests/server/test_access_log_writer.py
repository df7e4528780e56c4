"""The thread that writes the access log: when it runs, what waits for it, and where lines go."""

import _thread
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cmux_proxy.config.sections import Observability
from cmux_proxy.observe.line_block import BLOCK_SIZE
from cmux_proxy.observe.record import REQUEST, Record
from cmux_proxy.server import access_log_writer
from cmux_proxy.server.access_log_file import check_file
from cmux_proxy.server.access_log_writer import MAX_WAITING, AccessLogWriter
from tests.helpers.fakes import FakeLoop
from tests.helpers.timing import SOON


class Log(AccessLogWriter):
    """A writer of all records to a file, or to `stderr`; the test rings its timer."""

    def __init__(
        self,
        log_file: Path | str | None,
        max_waiting: int = MAX_WAITING,
        log_format: str = "text",
        stderr: int = 2,
    ) -> None:
        self.loop = FakeLoop()
        path = None if log_file is None else str(log_file)
        observability = Observability("all", log_format, path)  # type: ignore[arg-type]
        check_file(observability)
        super().__init__(observability, self.loop.call_later, max_waiting, stderr=stderr)

    def put(self, path: str) -> None:
        """Add the line of a request for that path."""
        record = Record(REQUEST, "192.0.2.1", 0.0)
        record.path = path
        self.block.put(record)

    def ring(self) -> None:
        """Let the time pass that a line may wait."""
        self.loop.now += 0.1
        self.loop.ring()

    def write(self, path: str) -> None:
        """Have the line of a request for that path written."""
        self.put(path)
        self.ring()
        assert self.wait_until_written(SOON)

    def fill_block(self, path: str) -> int:
        """Add lines until they are handed over; return how many."""
        count = 1
        self.put(path)
        while self.block.size():
            self.put(path)
            count += 1
        return count


def paths(text: str) -> list[str]:
    """Return the paths in a log of whole lines, and the other lines as they are."""
    assert not text or text.endswith("\n")
    return [line.split()[4] if " request " in line else line for line in text.splitlines()]


def wait_for(condition: Callable[[], bool]) -> None:
    """Return as soon as a condition is true."""
    deadline = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < deadline
        os.sched_yield()


@pytest.fixture
def log_file(tmp_path: Path) -> Path:
    return tmp_path / "access.log"


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    before = _thread._count()
    yield
    wait_for(lambda: _thread._count() == before)


def test_lines_are_appended_to_a_file(log_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log_file.write_text("before\n")
    with Log(log_file) as log:
        log.put("/a")
        log.put("/\xe9")
    first, second, third = log_file.read_text("ascii").splitlines()
    assert first == "before"
    assert " 192.0.2.1 request - /a " in second
    assert " /\\xe9 " in third
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("log_file", "stream"), [(None, 1), ("-", 0)])
def test_without_a_file_lines_go_to_standard_error_and_with_a_dash_to_standard_output(
    capfd: pytest.CaptureFixture[str], log_file: str | None, stream: int
) -> None:
    for path in ("/a", "/b"):
        with Log(log_file, log_format="json") as log:
            log.put(path)
            log.reopen()
    outputs = capfd.readouterr()
    assert [json.loads(line)["path"] for line in outputs[stream].splitlines()] == ["/a", "/b"]
    assert outputs[1 - stream] == ""


def test_a_line_waits_for_others_but_not_for_long(log_file: Path) -> None:
    with Log(log_file) as log:
        for number in range(3):
            log.put(f"/{number}")
            log.loop.ring()
            assert log_file.read_text() == ""
        assert len(log.loop.timers) == 1
        log.ring()
        assert log.wait_until_written(SOON)
        assert paths(log_file.read_text()) == ["/0", "/1", "/2"]
        assert log.loop.timers == []
        log.write("/3")
        assert paths(log_file.read_text()) == ["/0", "/1", "/2", "/3"]
        log.put("/4")
    assert paths(log_file.read_text())[-1] == "/4"
    assert log.loop.timers == []


def test_there_is_a_thread_only_while_a_block_is_written(log_file: Path) -> None:
    others = _thread._count()
    with Log(log_file) as log:
        for number in range(3):
            log.put(f"/{number}")
            assert _thread._count() == others
            log.ring()
            assert log.wait_until_written(SOON)
            wait_for(lambda: _thread._count() == others)
            assert len(paths(log_file.read_text())) == number + 1


def test_a_full_block_is_written_without_a_timer(log_file: Path) -> None:
    with Log(log_file) as log:
        count = log.fill_block("/full")
        assert log.wait_until_written(SOON)
        assert paths(log_file.read_text()) == ["/full"] * count
        assert BLOCK_SIZE <= log_file.stat().st_size < BLOCK_SIZE + 1000


def test_many_lines_are_written_in_order_and_none_is_lost(log_file: Path) -> None:
    with Log(log_file) as log:
        for number in range(5000):
            log.put(f"/{number}")
    assert paths(log_file.read_text()) == [f"/{number}" for number in range(5000)]
    assert log.lost() == {"queue_full": 0, "write_failed": 0}
    assert log.waiting_bytes() == 0


def test_lines_wait_while_no_thread_can_be_started(
    log_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Log(log_file) as log:
        with monkeypatch.context() as patch:
            patch.setattr(_thread, "start_new_thread", _fails)
            log.put("/early")
            log.ring()
        assert log_file.read_text() == ""
        log.write("/late")
        assert paths(log_file.read_text()) == ["/early", "/late"]


def test_at_the_end_lines_are_written_even_without_a_thread(
    log_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_thread, "start_new_thread", _fails)
    with Log(log_file) as log:
        log.put("/a")
        log.ring()
        log.put("/b")
    assert paths(log_file.read_text()) == ["/a", "/b"]


def _fails(*_: object) -> int:
    raise RuntimeError("can't start new thread")


def test_what_was_logged_before_a_rotation_is_in_the_file_that_was_moved_away(
    log_file: Path,
) -> None:
    moved = log_file.with_suffix(".1")
    with Log(log_file) as log:
        log.put("/old")
        os.replace(log_file, moved)
        log.reopen()
        log.put("/new")
    assert paths(moved.read_text()) == ["/old"]
    assert paths(log_file.read_text()) == ["/new"]


def test_where_it_cannot_be_created_again_the_old_one_is_kept(
    log_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    moved = log_file.with_suffix(".1")
    with Log(log_file) as log:
        os.replace(log_file, moved)
        log_file.mkdir()
        log.reopen()
        log.put("/new")
    assert paths(moved.read_text()) == ["/new"]
    assert "the access log cannot be opened again" in caplog.text


def test_after_a_full_disk_rotation_continues_with_the_new_file(
    log_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("needs a device that is full")
    log_file.symlink_to("/dev/full")
    with Log(log_file) as log:
        log.put("/lost")
        log_file.unlink()
        log.reopen()
        log.put("/new")
    assert "/new" in log_file.read_text()
    assert log.lost() == {"queue_full": 0, "write_failed": 1}
    assert caplog.messages[1] == "the access log can be written again; lines lost: 1"


class Reader:
    """Reads a new named pipe to its end, in a thread, once it is started."""

    def __init__(self, log_file: Path) -> None:
        os.mkfifo(log_file)
        self.data = bytearray()
        self._descriptor = os.open(log_file, os.O_RDONLY | os.O_NONBLOCK)
        os.set_blocking(self._descriptor, True)
        self._thread = threading.Thread(target=self._read)

    def start(self) -> None:
        """Start reading."""
        self._thread.start()

    def finish(self) -> str:
        """Return what it has read to the end."""
        self._thread.join(SOON)
        os.close(self._descriptor)
        return self.data.decode("ascii")

    def _read(self) -> None:
        while chunk := os.read(self._descriptor, 65536):
            self.data.extend(chunk)


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_what_may_wait_for_a_reader_that_does_not_read_is_limited_in_bytes(
    log_file: Path, log_format: str
) -> None:
    reader = Reader(log_file)
    with Log(log_file, 800_000, log_format) as log:
        count = 0
        while log.lost()["queue_full"] < 3:
            log.put("/" + "p" * 2000)
            count += 1
            assert log.waiting_bytes() < 800_000 + BLOCK_SIZE + 3000
        assert log.waiting_bytes() > 800_000
        reader.start()
        assert log.wait_until_written(SOON)
        log.write("/after")
    text = reader.finish()
    assert text.count("/ppp") == count - 3
    assert text.count("missing") == 1
    missing = '"missing":3' if log_format == "json" else "3 lines are missing here"
    assert text.index(missing) < text.index("/after")
    assert log.lost() == {"queue_full": 3, "write_failed": 0}
    assert log.waiting_bytes() == 0


def test_a_block_that_found_no_room_is_written_when_there_is_room_again(log_file: Path) -> None:
    reader = Reader(log_file)
    with Log(log_file, 0) as log:
        # Even one block exceeds the limit, so that it stays where it is.
        log.put("/" + "p" * 2000)
        log.ring()
        assert len(log.loop.timers) == 1
        log._max_waiting = MAX_WAITING
        reader.start()
        log.ring()
        assert log.wait_until_written(SOON)
        wait_for(lambda: bool(reader.data))
        assert log.loop.timers == []
    assert reader.finish().count("/ppp") == 1


def test_a_reader_that_does_not_read_at_the_end_is_not_waited_for(
    log_file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(access_log_writer, "_CLOSE_TIMEOUT", 0.01)
    reader = Reader(log_file)
    with Log(log_file) as log:
        while log.waiting_bytes() < 2 * BLOCK_SIZE:
            log.fill_block("/" + "p" * 200)
        lines = log.fill_block("/last")
    [message] = caplog.messages
    start = "the access log is not taken at the end; lines lost: "
    assert message.startswith(start)
    assert int(message.removeprefix(start).split()[0]) > lines
    # The thread ends with the block that it was writing.
    reader.start()
    assert log.wait_until_written(SOON)
    log._output.close()
    assert "/last" not in reader.finish()


def test_a_pipe_without_a_reader_does_not_block(log_file: Path) -> None:
    os.mkfifo(log_file)
    with Log(log_file) as log:
        log.reopen()
        log.write("/early")
        with log_file.open() as reader:
            assert " /early " in reader.readline()
