"""Tables on a terminal, and in a pipe."""

import os
import pty
import subprocess
import sys

import pytest

from cmux_proxy.commands.table import Table, coloured, print_row, print_table
from tests.helpers.proxies import environment

PRINT = "from cmux_proxy.commands.table import print_row; print_row('0123456789', 'red')"


def on_terminal(columns: int, **variables: str) -> str:
    """Return the output on a terminal of some width."""
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


def test_columns_are_as_wide_as_their_cells(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([("A", "LONG", "C"), ("11", "2", "3 3 3"), ("1", "2", "")])
    assert capsys.readouterr().out == "A   LONG  C\n11  2     3 3 3\n1   2\n"


def test_a_later_row_may_be_wider() -> None:
    assert Table.for_rows([("1", "x")]).line(("333", "y")) == "333  y"


def test_a_pipe_gets_complete_lines_without_colours(capsys: pytest.CaptureFixture[str]) -> None:
    print_row("x" * 1000, "red")
    assert capsys.readouterr().out == "x" * 1000 + "\n"


def test_a_terminal_gets_cut_lines_with_colours() -> None:
    assert on_terminal(5) == "\x1b[31m01234\x1b[0m"
    assert on_terminal(80) == "\x1b[31m0123456789\x1b[0m"


def test_no_color_turns_colours_off(monkeypatch: pytest.MonkeyPatch) -> None:
    assert on_terminal(80, NO_COLOR="1") == "0123456789"
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert coloured("a", None) == "a"
