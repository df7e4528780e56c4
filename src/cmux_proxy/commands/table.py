"""Tables for people: columns that are as wide as what stands in them, and no wider than the screen.

Programs get all of it: what is no terminal has no width, and no colours.
"""

import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import click

from cmux_proxy.commands.output import say

Row = Sequence[str]


class Columns(NamedTuple):
    """The widths of all columns but the last one, which takes what it needs."""

    widths: tuple[int, ...]

    @classmethod
    def of(cls, rows: Iterable[Row]) -> "Columns":
        """Make columns in which these rows have room."""
        return cls(tuple(max(map(len, column)) for column in zip(*rows, strict=True)))

    def line(self, row: Row) -> str:
        """Return a row as a line."""
        cells = [cell.ljust(width) for cell, width in zip(row, self.widths, strict=True)]
        return "  ".join(cells).rstrip()


def print_table(rows: Sequence[Row]) -> None:
    """Print rows, the first of which has the titles."""
    columns = Columns.of(rows)
    for row in rows:
        print_line(columns.line(row))


def print_line(line: str, colour: str | None = None) -> None:
    """Print a line; on a terminal in a colour, and cut off at its edge."""
    if sys.stdout.isatty():
        line = line[: shutil.get_terminal_size().columns]
    say(coloured(line, colour))


def coloured(text: str, colour: str | None) -> str:
    """Return a text in a colour, which `click.echo` takes away where there is no terminal."""
    is_plain = colour is None or bool(os.environ.get("NO_COLOR"))
    return text if is_plain else click.style(text, fg=colour)
