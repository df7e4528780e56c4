"""The bytes of a head: where it ends, which lines are valid, which a rule is interested in.

Every byte of a line is validated when it is read for the first time. What it says is a function of
its bytes, so it is remembered, and a head that is new costs little more than its new lines.
"""

import re
from typing import Final

from cmux_proxy.http1.grammar import BLANK_LINE, FIELD, REQUEST_LINE, STATUS_LINE

_REQUEST_LINE: Final = re.compile(REQUEST_LINE)
_STATUS_LINE: Final = re.compile(STATUS_LINE)
_FIELD: Final = re.compile(FIELD)

# Enough for the peers of a development machine; in all at most half a megabyte.
_REMEMBERED: Final = 2048
_LONGEST: Final = 256

# A field of interest: kind, lower-case name (of a family's member, else empty), value without
# surrounding white space, and where its line starts and ends.
FieldLine = tuple[int, bytes, bytes, int, int]
# What a line says: kind, name and value as above; the kind is -1 where no rule is interested.
Said = tuple[int, bytes, bytes]
_OF_NO_INTEREST: Final[Said] = (-1, b"", b"")


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


def field_values(section: bytes, name: bytes) -> list[bytes]:
    """Return the values of all lines of that lower-case name, in a section that was read."""
    size = len(name)
    return [
        line[size + 1 :].strip(b" \t")
        for line in section.split(b"\r\n")
        if line[size : size + 1] == b":" and line[:size].lower() == name
    ]


class FieldLines:
    """Finds the fields of interest: the names in `kinds`, and with `family` all that begin so.

    Names are in lower case; a family's members, and other names to report, are of kind 0.
    """

    __slots__ = ("_family", "_kinds", "_known")

    def __init__(self, kinds: dict[bytes, int], family: bytes) -> None:
        self._kinds = kinds
        self._family = family
        # What valid lines say: peers repeat most of their lines, if not all of them.
        self._known: dict[bytes, Said] = {}

    def find(self, block: bytes) -> list[FieldLine] | None:
        """Return them, in order; None unless the block is valid lines up to its one blank line."""
        lines = block.split(b"\r\n")
        if len(lines) < 2 or lines.pop() or lines.pop():
            return None
        known = self._known
        found: list[FieldLine] = []
        start = 0
        for line in lines:
            said = known.get(line)
            if said is None:
                said = self._read(line)
                if said is None:
                    return None
            end = start + len(line) + 2
            kind, name, value = said
            if kind >= 0:
                found.append((kind, name, value, start, end))
            start = end
        return found

    def _read(self, line: bytes) -> Said | None:
        match = _FIELD.fullmatch(line)
        if match is None:
            return None
        name, value = match.groups()
        name = name.lower()
        kind = self._kinds.get(name, -1)
        said = (kind, b"" if kind else name, value.rstrip(b" \t"))
        if kind < 0:
            is_member = self._family != b"" and name.startswith(self._family)
            said = (0, name, said[2]) if is_member else _OF_NO_INTEREST
        if len(line) <= _LONGEST:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[line] = said
        return said
