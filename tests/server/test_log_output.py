"""Blocks on their way to a descriptor: in which pieces, and what happens where that fails."""

import contextlib
import os
import resource
import select
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cmux_proxy.server.access_log_file import open_file
from cmux_proxy.server.log_output import LogOutput

FULL = "the access log cannot be written: [Errno 28] No space left on device"
TOO_LARGE = "the access log cannot be written: [Errno 27] File too large"
MISSING = "lines are missing here: they came faster than written, or could not be written\n"


@contextlib.contextmanager
def output_to(path: Path, log_format: str = "text") -> Iterator[LogOutput]:
    output = LogOutput(-1, log_format)
    output.replace(open_file(str(path)))
    yield output
    output.close()


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


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Keep what is written at once."""
    written: list[bytes] = []
    write = os.write

    def keep(descriptor: int, data: bytes) -> int:
        written.append(bytes(data))
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", keep)
    return written


def test_a_file_takes_a_block_at_once(log_file: Path, written: list[bytes]) -> None:
    block = b"".join(b"line %d\n" % number for number in range(20_000))
    with output_to(log_file) as output:
        output.write(block, 0)
    assert written == [block]
    assert log_file.read_bytes() == block


def test_a_pipe_takes_whole_lines_that_do_not_mix_with_those_of_others(
    written: list[bytes],
) -> None:
    reader, writer = os.pipe()
    lines = [b"x" * (number * 7 % 900) + b"\n" for number in range(50)]
    lines += [b"y" * select.PIPE_BUF + b"\n", b"z\n"]
    output = LogOutput(writer, "text")
    output.write(b"".join(lines), 0)
    os.close(writer)
    with open(reader, "rb") as stream:
        assert stream.read() == b"".join(lines)
    assert all(piece.endswith(b"\n") for piece in written)
    # The piece above the limit is one line.
    assert [piece for piece in written if len(piece) > select.PIPE_BUF] == [lines[50]]
    assert len(written) < 10


def test_a_pipe_that_is_non_blocking_gets_all_lines() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    received: list[bytes] = []

    def read() -> None:
        with open(reader, "rb") as stream:
            received.append(stream.read())

    thread = threading.Thread(target=read)
    block = b"".join(b"%d %s\n" % (number, b"x" * 2000) for number in range(200))
    thread.start()
    output = LogOutput(writer, "text")
    output.write(block, 0)
    os.close(writer)
    thread.join()
    assert received == [block]
    assert output.failed == 0


def test_lines_that_never_came_are_reported(log_file: Path) -> None:
    with output_to(log_file) as output:
        output.write(b"a\n", 2)
        output.write(b"b\n", 2)
        output.write(b"", 5)
    assert log_file.read_text() == f"2 {MISSING}a\nb\n3 {MISSING}"


def test_what_cannot_be_written_is_logged_once_and_counted(
    caplog: pytest.LogCaptureFixture, log_file: Path
) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("needs a device that is full")
    log_file.symlink_to("/dev/full")
    with output_to(log_file) as output:
        for _ in range(3):
            output.write(b"a\nb\n", 0)
    assert caplog.messages == [FULL]
    assert output.failed == 6


def test_lines_lost_to_a_full_disk_are_reported_when_it_has_room_again(
    caplog: pytest.LogCaptureFixture, log_file: Path
) -> None:
    with output_to(log_file) as output:
        output.write(b"whole\n", 0)
        with files_of_at_most(len(b"whole\nlo")):
            # There is room for two bytes of the first line.
            for number in range(3):
                output.write(b"lost %d\n" % number, 0)
        output.write(b"again\n", 0)
        output.write(b"and again\n", 0)
    assert log_file.read_text() == f"whole\nlo\n3 {MISSING}again\nand again\n"
    assert output.failed == 3
    assert caplog.messages == [TOO_LARGE, "the access log can be written again; lines lost: 3"]


def test_of_a_block_only_the_lines_that_were_not_written_whole_are_lost(log_file: Path) -> None:
    with output_to(log_file) as output:
        with files_of_at_most(len(b"0\n1\n2")):
            output.write(b"0\n1\n2\n3\n4\n", 0)
        assert output.failed == 3
        output.write(b"5\n", 0)
    assert log_file.read_text() == f"0\n1\n2\n3 {MISSING}5\n"


def test_a_report_that_cannot_be_written_itself_is_not_counted(log_file: Path) -> None:
    with output_to(log_file) as output:
        with files_of_at_most(0):
            output.write(b"0\n", 0)
            output.write(b"1\n", 0)
        output.write(b"2\n", 0)
    assert log_file.read_text() == f"2 {MISSING}2\n"
    assert output.failed == 2


def test_another_descriptor_closes_the_one_before_and_begins_with_a_new_line(
    log_file: Path,
) -> None:
    with output_to(log_file) as output:
        with files_of_at_most(3):
            output.write(b"torn\n", 0)
        before = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc") else 0
        output.replace(open_file(str(log_file.with_suffix(".new"))))
        after = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc") else 0
        output.write(b"a\n", 0)
    assert log_file.read_text() == "tor"
    assert log_file.with_suffix(".new").read_text() == f"1 {MISSING}a\n"
    assert before == after


def test_a_descriptor_of_others_is_not_closed(log_file: Path) -> None:
    descriptor = open_file(str(log_file))
    output = LogOutput(descriptor, "text")
    output.close()
    output.write(b"a\n", 0)
    os.close(descriptor)
    assert log_file.read_text() == "a\n"
