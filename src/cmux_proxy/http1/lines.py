"""The lines of a head: which are valid, and which of them a rule is interested in.

`_lines.pyx` does the same compiled, and where it was built it is what `scan.py` and `fields.py`
use; the two are held together by the tests of both and by a differential one. A pattern eats the
lines that no rule is interested in and stops at one that is, so that the work in Python grows with
those only, and every byte is validated on the way.
"""

import re
from typing import Final

from cmux_proxy.http1.grammar import REQUEST_LINE, STATUS_LINE, field_run

_REQUEST_LINE: Final = re.compile(REQUEST_LINE)
_STATUS_LINE: Final = re.compile(STATUS_LINE)

# A field of interest: kind, lower-case name (of a family's member, else empty), value without
# surrounding white space, and where its line starts and ends.
FieldLine = tuple[int, bytes, bytes, int, int]


def request_line(buffer: bytes) -> tuple[bytes, bytes, int, int] | None:
    """Return method, target, the x of HTTP/1.x and the line's end; None for no valid line."""
    match = _REQUEST_LINE.match(buffer)
    if match is None:
        return None
    method, target, minor = match.groups()
    return method, target, 1 if minor == b"1" else 0, match.end()


def status_line(buffer: bytes) -> tuple[int, int, int] | None:
    """Return status, the x of HTTP/1.x and the line's end; None for no valid line."""
    match = _STATUS_LINE.match(buffer)
    if match is None:
        return None
    minor, status = match.groups()
    return int(status), 1 if minor == b"1" else 0, match.end()


class FieldLines:
    """Finds the fields of interest: the names in `kinds`, and with `family` all that begin so.

    Names are in lower case; a family's members are of kind 0.
    """

    __slots__ = ("_kinds", "_run")

    def __init__(self, kinds: dict[bytes, int], family: bytes) -> None:
        self._kinds = kinds
        self._run = re.compile(field_run(kinds, [family] if family else []))

    def find(self, block: bytes) -> list[FieldLine] | None:
        """Return them, in order; None unless the block is valid lines up to its one blank line."""
        found: list[FieldLine] = []
        run = self._run.match
        position = 0
        while True:
            match = run(block, position)
            if match is None:
                return None
            position = match.end()
            name, value = match.groups()
            if name is None:
                return found if position == len(block) else None
            name = name.lower()
            kind = self._kinds.get(name, 0)
            value = value.rstrip(b" \t")
            found.append((kind, b"" if kind else name, value, match.start(1), position))
