"""Tables on a terminal: columns as wide as their cells, and rows no wider than the terminal.

In a pipe or a file, rows are complete and have no colours.
"""

import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import click

from cmux_proxy.commands.output import print_line

Row = Sequence[str]


class Table(NamedTuple):
    """The widths of all columns; the last one is not padded."""

    widths: tuple[int, ...]

    @classmethod
    def for_rows(cls, rows: Iterable[Row]) -> "Table":
        """Return a table whose columns have room for some rows."""
        return cls(tuple(max(map(len, column)) for column in zip(*rows, strict=True)))

    def line(self, row: Row) -> str:
        """Return a row as a line."""
        cells = [cell.ljust(width) for cell, width in zip(row, self.widths, strict=True)]
        return "  ".join(cells).rstrip()


def print_table(rows: Sequence[Row]) -> None:
    """Print rows, of which the first has the titles."""
    table = Table.for_rows(rows)
    for row in rows:
        print_row(table.line(row))


def print_row(line: str, colour: str | None = None) -> None:
    """Print a line; on a terminal with a colour, and cut at its edge."""
    if sys.stdout.isatty():
        line = line[: shutil.get_terminal_size().columns]
    print_line(coloured(line, colour))


def coloured(text: str, colour: str | None) -> str:
    """Return a text with a colour, which `click.echo` removes if the output is not a terminal."""
    is_plain = colour is None or bool(os.environ.get("NO_COLOR"))
    return text if is_plain else click.style(text, fg=colour)
