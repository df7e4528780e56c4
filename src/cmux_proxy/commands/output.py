"""Prints for the subcommands; characters that a terminal's encoding lacks are printed as escapes.

`print_line` writes to standard output: an error there ends the command, and `cli.py` reports it.
`warn` writes to standard error, where an error has no effect.
"""

import contextlib
import io
import os
import sys
import traceback
from typing import Any

import click


def print_line(text: str) -> None:
    """Print a line to standard output."""
    # Without the stream, click would write UTF-8 to a terminal that has ASCII.
    click.echo(text, file=sys.stdout)


def warn(text: str, *, ends_line: bool = True) -> None:
    """Write a line to standard error; without a line end if a later one replaces it."""
    with contextlib.suppress(OSError):
        click.echo(text, file=sys.stderr, nl=ends_line)


def escape_unencodable() -> None:
    """Let the standard streams write characters that their encoding lacks as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def is_output_error(error: OSError) -> bool:
    """Return whether an error was raised while a line was printed."""
    *_, (frame, _line) = traceback.walk_tb(error.__traceback__)
    code: Any = click.echo.__code__
    return frame.f_code is code


def discard_output() -> None:
    """Drop buffered output, which would raise the error again at exit."""
    descriptor = os.open(os.devnull, os.O_WRONLY)
    os.dup2(descriptor, sys.stdout.fileno())
    os.close(descriptor)
