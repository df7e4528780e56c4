"""One line on standard error that is overwritten when something changes, on terminals only."""

import os
import sys
from typing import Final

from cmux_proxy.commands.output import print_line, warn

_ERASE: Final = "\r\033[K"
_DEFAULT_WIDTH: Final = 80


class StatusLine:
    """The line, and the lines above it; it is shown on terminals that can erase."""

    def __init__(self) -> None:
        self._text = ""
        self._is_shown = sys.stderr.isatty() and os.environ.get("TERM") not in (None, "", "dumb")

    def update(self, text: str) -> None:
        """Show a text, cut to the width of the terminal."""
        self._text = text
        if self._is_shown:
            # A character in the last column would move some terminals to the next line.
            warn(f"{_ERASE}{text[: terminal_width() - 1]}", ends_line=False)

    def print_above(self, line: str) -> None:
        """Print a line to standard output, above the status line."""
        self._erase()
        print_line(line)
        self.update(self._text)

    def warn_above(self, line: str) -> None:
        """Write a line to standard error, above the status line."""
        self._erase()
        warn(line)
        self.update(self._text)

    def end(self) -> None:
        """Leave the last text on the terminal, and continue below it."""
        if self._is_shown and self._text:
            warn("")

    def _erase(self) -> None:
        if self._is_shown and self._text:
            warn(_ERASE, ends_line=False)


def terminal_width() -> int:
    """Return the number of columns of the terminal, 80 if it is unknown."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or _DEFAULT_WIDTH
    except OSError:
        return _DEFAULT_WIDTH
