"""Lines on a stream that is read late or never, and on files and sockets."""

import io
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import pytest

from cmux_proxy.server.line_stream import MAX_BUFFERED, LineStream
from tests.helpers.children import in_a_process, status_of


@contextmanager
def text_stream(descriptor: int) -> Iterator[TextIO]:
    with open(descriptor, "w", encoding="utf-8") as stream:
        yield stream


@contextmanager
def pipe() -> Iterator[tuple[int, TextIO]]:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    try:
        with text_stream(writer) as stream:
            yield reader, stream
    finally:
        os.close(reader)


@contextmanager
def socket_pair() -> Iterator[tuple[int, TextIO]]:
    ours, its = socket.socketpair()
    ours.setblocking(False)
    with ours, text_stream(its.detach()) as stream:
        yield ours.fileno(), stream


def read(descriptor: int) -> str:
    """Return what is readable now."""
    data = b""
    try:
        while chunk := os.read(descriptor, 65536):
            data += chunk
    except BlockingIOError:
        pass
    return data.decode()


pipe_and_socket = pytest.mark.parametrize("make", [pipe, socket_pair])


@pipe_and_socket
def test_a_line_arrives_at_once(make: object) -> None:
    with make() as (reader, stream):  # type: ignore[operator]
        lines = LineStream(stream)
        assert lines.write("hello \u00e9\n") == 8
        assert read(reader) == "hello \u00e9\n"
        assert os.get_blocking(stream.fileno())


@pipe_and_socket
def test_unread_lines_are_buffered_then_lost_and_counted(make: object) -> None:
    with make() as (reader, stream):  # type: ignore[operator]
        lines = LineStream(stream)
        line = "x" * 999 + "\n"
        written = 0
        while not lines.lost_lines:
            lines.write(line)
            written += 1
        lines.write(line)
        # The kernel has buffered some lines too.
        assert written * 1000 > MAX_BUFFERED
        received = read(reader)
        lines.flush()
        received += read(reader)
        assert received == line * (written - 1)
        lines.write("last\n")
        lost = "cmux-proxy: lines lost because nobody read them: 2\n"
        assert read(reader) == lost + "last\n"


def test_a_missing_reader_is_not_an_error() -> None:
    reader, writer = os.pipe()
    with text_stream(writer) as stream:
        lines = LineStream(stream)
        os.close(reader)
        lines.write("a\n")
        lines.flush()


def test_a_pipe_that_cannot_be_reopened_is_written_while_it_has_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(*_: object) -> int:
        raise PermissionError

    with pipe() as (reader, stream):
        with monkeypatch.context() as patch:
            patch.setattr(os, "open", fails)
            lines = LineStream(stream)
        while not lines.buffered:
            lines.write("x" * 999 + "\n")
        assert read(reader)
        lines.flush()
        assert read(reader)


def test_a_file_is_written_at_its_position(tmp_path: Path) -> None:
    file = tmp_path / "log"
    with file.open("w", encoding="utf-8") as stream:
        stream.write("before\n")
        LineStream(stream).write("then\n")
        stream.write("after\n")
    assert file.read_text() == "before\nthen\nafter\n"


def test_a_stream_in_memory_works_too() -> None:
    memory = io.StringIO()
    lines = LineStream(memory)
    lines.write("a\n")
    lines.flush()
    assert memory.getvalue() == "a\n"


def test_buffered_lines_are_written_by_one_process() -> None:
    with pipe() as (reader, stream):
        lines = LineStream(stream)
        while not lines.buffered:
            lines.write("x" * 999 + "\n")
        read(reader)

        def writes() -> bool:
            lines.write("child\n")
            return True

        assert status_of(in_a_process(writes)) == 0
        assert read(reader) == "child\n"


def test_the_standard_error_of_a_test_works_too() -> None:
    LineStream(sys.stderr).write("")
