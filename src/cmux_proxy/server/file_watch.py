"""Whether files have changed, by what `stat` says. Does not read them.

The ticker asks, so that no thread is needed.
"""

import os
from collections.abc import Sequence
from typing import Final

# Seconds between two looks at the files.
CHECK_INTERVAL: Final = 5.0

# What changes with the contents of a file, also of one that a link leads to.
_State = tuple[int, int, int, int] | None


class FileWatch:
    """Watches some files; those who read them say so with `mark_read`."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = paths
        self._read = self._seen = self._states()
        self._next_check = 0.0

    def mark_read(self) -> None:
        """Remember the files as they are; call it before they are read."""
        self._read = self._seen = self._states()

    def is_due(self, now: float) -> bool:
        """Return whether it is time for the next look; `now` is in seconds, of any clock."""
        if now < self._next_check:
            return False
        self._next_check = now + CHECK_INTERVAL
        return True

    def have_changed(self) -> bool:
        """Return whether the files have changed, and not since the last look.

        A certificate and its key are written one after the other.
        """
        states = self._states()
        is_settled = states == self._seen
        self._seen = states
        return is_settled and states != self._read

    def _states(self) -> list[_State]:
        return [_state_of(path) for path in self._paths]


def _state_of(path: str) -> _State:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
