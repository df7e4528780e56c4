"""Lines on a stream that somebody reads late, or never, or that is no pipe at all."""

import io
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import pytest

from cmux_proxy.server.line_stream import MAX_WAITING, LineStream


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
    """Return what can be read now."""
    data = b""
    try:
        while piece := os.read(descriptor, 65536):
            data += piece
    except BlockingIOError:
        pass
    return data.decode()


both = pytest.mark.parametrize("make", [pipe, socket_pair])


@both
def test_a_line_arrives_at_once(make: object) -> None:
    with make() as (reader, stream):  # type: ignore[operator]
        lines = LineStream(stream)
        assert lines.write("hello \u00e9\n") == 8
        assert read(reader) == "hello \u00e9\n"
        assert os.get_blocking(stream.fileno())


@both
def test_what_nobody_reads_waits_then_is_lost_and_counted(make: object) -> None:
    with make() as (reader, stream):  # type: ignore[operator]
        lines = LineStream(stream)
        line = "x" * 999 + "\n"
        written = 0
        while not lines._lost:
            lines.write(line)
            written += 1
        lines.write(line)
        # More than the waiting ones fitted into the kernel.
        assert written * 1000 > MAX_WAITING
        got = read(reader)
        lines.flush()
        got += read(reader)
        assert got == line * (written - 1)
        lines.write("last\n")
        lost = "cmux-proxy: lines lost, since nobody reads them: 2\n"
        assert read(reader) == lost + "last\n"


def test_a_reader_that_is_gone_is_no_error() -> None:
    reader, writer = os.pipe()
    with text_stream(writer) as stream:
        lines = LineStream(stream)
        os.close(reader)
        lines.write("a\n")
        lines.flush()


def test_a_pipe_that_cannot_be_opened_again_is_written_while_it_has_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(*_: object) -> int:
        raise PermissionError

    with pipe() as (reader, stream):
        with monkeypatch.context() as patch:
            patch.setattr(os, "open", fails)
            lines = LineStream(stream)
        while not lines._waiting:
            lines.write("x" * 999 + "\n")
        assert read(reader)
        lines.flush()
        assert read(reader)


def test_a_file_is_written_where_it_stands(tmp_path: Path) -> None:
    file = tmp_path / "log"
    with file.open("w", encoding="utf-8") as stream:
        stream.write("before\n")
        LineStream(stream).write("then\n")
        stream.write("after\n")
    assert file.read_text() == "before\nthen\nafter\n"


def test_a_stream_in_memory_is_one_too() -> None:
    memory = io.StringIO()
    lines = LineStream(memory)
    lines.write("a\n")
    lines.flush()
    assert memory.getvalue() == "a\n"


def test_what_waits_is_written_by_one_process() -> None:
    with pipe() as (reader, stream):
        lines = LineStream(stream)
        while not lines._waiting:
            lines.write("x" * 999 + "\n")
        read(reader)
        child = os.fork()
        if not child:
            lines.write("child\n")
            os._exit(0)
        os.waitpid(child, 0)
        assert read(reader) == "child\n"


def test_standard_error_of_a_test_is_taken_for_what_it_is() -> None:
    LineStream(sys.stderr).write("")
