"""The bytes of a head: where it ends, which lines are valid, which a rule is interested in.

A pattern eats the lines that no rule is interested in and stops at one that is, so that the work in
Python grows with those only, and every byte is validated on the way.
"""

import re
from typing import Final

from cmux_proxy.http1.grammar import BLANK_LINE, REQUEST_LINE, STATUS_LINE, field_run

_REQUEST_LINE: Final = re.compile(REQUEST_LINE)
_STATUS_LINE: Final = re.compile(STATUS_LINE)

# A field of interest: kind, lower-case name (of a family's member, else empty), value without
# surrounding white space, and where its line starts and ends.
FieldLine = tuple[int, bytes, bytes, int, int]


def head_end(buffer: bytes, searched: int) -> int:
    """Return where the first blank line ends, or 0; `searched` bytes were looked at before."""
    at = buffer.find(BLANK_LINE, max(0, searched - 3))
    return 0 if at < 0 else at + 4


def request_head(buffer: bytes, end: int) -> tuple[bytes, bytes, int, int, bytes] | None:
    """Take a request head apart that ends at `end`; None when its first line is not valid.

    Returns method, target, the x of HTTP/1.x, the line's end, and the header section.
    """
    match = _REQUEST_LINE.match(buffer)
    if match is None:
        return None
    method, target, minor = match.groups()
    line_end = match.end()
    return method, target, 1 if minor == b"1" else 0, line_end, buffer[line_end:end]


def response_head(buffer: bytes, end: int) -> tuple[int, int, int, bytes] | None:
    """Take a response head apart that ends at `end`; None when its first line is not valid.

    Returns status, the x of HTTP/1.x, the line's end, and the header section.
    """
    match = _STATUS_LINE.match(buffer)
    if match is None:
        return None
    minor, status = match.groups()
    line_end = match.end()
    return int(status), 1 if minor == b"1" else 0, line_end, buffer[line_end:end]


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
