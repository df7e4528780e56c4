"""One line on standard error that is written over as things change, for whoever looks at it."""

import os
import sys
from typing import Final

from cmux_proxy.commands.output import say, warn

_ERASE: Final = "\r\033[K"
_USUAL_WIDTH: Final = 80


class StatusLine:
    """The line, and what is printed above it; there is none but on a terminal that can erase."""

    def __init__(self) -> None:
        self._text = ""
        self._is_shown = sys.stderr.isatty() and os.environ.get("TERM") not in (None, "", "dumb")

    def show(self, text: str) -> None:
        """Show a text, as much of it as the terminal has room for."""
        self._text = text
        if self._is_shown:
            # A character in the last column would take some terminals to the next line.
            warn(f"{_ERASE}{text[: _width() - 1]}", ends=False)

    def say(self, line: str) -> None:
        """Print a line above it."""
        self._erase()
        say(line)
        self.show(self._text)

    def warn(self, line: str) -> None:
        """Write a line to standard error, above it."""
        self._erase()
        warn(line)
        self.show(self._text)

    def leave(self) -> None:
        """Let it stand, and go on below it."""
        if self._is_shown and self._text:
            warn("")

    def _erase(self) -> None:
        if self._is_shown and self._text:
            warn(_ERASE, ends=False)


def _width() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or _USUAL_WIDTH
    except OSError:
        return _USUAL_WIDTH
