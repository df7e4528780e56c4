"""Prints for the subcommands; what the encoding of a terminal lacks is written as escapes.

`say` writes to standard output: an error there ends the command, and `cli.py` tells it. `warn`
writes to standard error, where an error changes nothing.
"""

import contextlib
import io
import os
import sys
import traceback
from typing import Any

import click


def say(text: str) -> None:
    """Print a line."""
    # Without the stream, click would write UTF-8 to a terminal that has ASCII.
    click.echo(text, file=sys.stdout)


def warn(text: str, *, ends: bool = True) -> None:
    """Write a line to standard error; with `ends` False, one that may be written over."""
    with contextlib.suppress(OSError):
        click.echo(text, file=sys.stderr, nl=ends)


def escape_what_is_not_shown() -> None:
    """Have characters that the encoding of a stream lacks be written as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def is_of_output(error: OSError) -> bool:
    """Return whether an error came about as something was printed."""
    *_, (frame, _line) = traceback.walk_tb(error.__traceback__)
    code: Any = click.echo.__code__
    return frame.f_code is code


def discard_output() -> None:
    """Drop what is left to be printed, which would be an error once more at the end."""
    descriptor = os.open(os.devnull, os.O_WRONLY)
    os.dup2(descriptor, sys.stdout.fileno())
    os.close(descriptor)
