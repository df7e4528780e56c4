"""Tables for people, and for programs."""

import os
import pty
import subprocess
import sys

import pytest

from cmux_proxy.commands.table import Columns, coloured, print_line, print_table
from tests.helpers.proxies import environment

PRINT = "from cmux_proxy.commands.table import print_line; print_line('0123456789', 'red')"


def on_terminal(columns: int, **variables: str) -> str:
    """Return what a terminal of that width is sent."""
    ours, theirs = pty.openpty()
    with open(ours, "rb", buffering=0) as screen:
        subprocess.run(
            [sys.executable, "-c", PRINT],
            stdout=theirs,
            env=environment(COLUMNS=str(columns), TERM="xterm", **variables),
            check=True,
        )
        os.close(theirs)
        return screen.read(1000).decode().rstrip("\r\n")


def test_columns_are_as_wide_as_what_stands_in_them(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([("A", "LONG", "C"), ("11", "2", "3 3 3"), ("1", "2", "")])
    assert capsys.readouterr().out == "A   LONG  C\n11  2     3 3 3\n1   2\n"


def test_a_later_row_may_be_wider() -> None:
    assert Columns.of([("1", "x")]).line(("333", "y")) == "333  y"


def test_a_program_gets_whole_lines_without_colours(capsys: pytest.CaptureFixture[str]) -> None:
    print_line("x" * 1000, "red")
    assert capsys.readouterr().out == "x" * 1000 + "\n"


def test_a_terminal_gets_what_it_has_room_for_in_colour() -> None:
    assert on_terminal(5) == "\x1b[31m01234\x1b[0m"
    assert on_terminal(80) == "\x1b[31m0123456789\x1b[0m"


def test_whoever_wants_no_colours_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert on_terminal(80, NO_COLOR="1") == "0123456789"
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert coloured("a", None) == "a"
