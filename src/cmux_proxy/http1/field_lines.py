"""The lines of a head: where the head ends, which lines are valid, which lines matter.

Every byte of a line is validated when the line is read for the first time. What a line says depends
on its bytes alone, so it is cached, and a new head costs little more than its new lines. Does not
know what the fields mean; `fields.py` acts on their kinds.
"""

import re
from typing import Final

from cmux_proxy.http1.grammar import BLANK_LINE, FIELD, REQUEST_LINE, STATUS_LINE

_REQUEST_LINE: Final = re.compile(REQUEST_LINE)
_STATUS_LINE: Final = re.compile(STATUS_LINE)
_FIELD: Final = re.compile(FIELD)

# Enough for the peers of a development machine, and at most half a megabyte in total.
MAX_CACHED_LINES: Final = 2048
MAX_CACHED_LINE: Final = 256

# A line of interest: kind, lower-case name (of a reserved field; otherwise empty), value without
# surrounding white space, and where the line starts and ends.
FieldLine = tuple[int, bytes, bytes, int, int]
# What a line says: kind, name and value as above. The kind is -1 for a line without interest.
LineFacts = tuple[int, bytes, bytes]
_NO_INTEREST: Final[LineFacts] = (-1, b"", b"")


def find_head_end(buffer: bytes, searched: int) -> int:
    """Return where the first blank line ends, or 0; `searched` bytes were searched before."""
    position = buffer.find(BLANK_LINE, max(0, searched - 3))
    return 0 if position < 0 else position + 4


def split_request_head(buffer: bytes, end: int) -> tuple[bytes, int, int, bytes] | None:
    """Split the request head that ends at `end`; return None if its first line is not valid.

    Returns the method, the minor version, the end of the line, and the header section.
    """
    match = _REQUEST_LINE.match(buffer)
    if match is None:
        return None
    method, _target, minor = match.groups()
    line_end = match.end()
    return method, 1 if minor == b"1" else 0, line_end, buffer[line_end:end]


def split_response_head(buffer: bytes, end: int) -> tuple[int, int, int, bytes] | None:
    """Split the response head that ends at `end`; return None if its first line is not valid.

    Returns the status, the minor version, the end of the line, and the header section.
    """
    match = _STATUS_LINE.match(buffer)
    if match is None:
        return None
    minor, status = match.groups()
    line_end = match.end()
    return int(status), 1 if minor == b"1" else 0, line_end, buffer[line_end:end]


def field_values(section: bytes, name: bytes) -> list[bytes]:
    """Return the values of all lines with that lower-case name, in a section that was read."""
    size = len(name)
    return [
        line[size + 1 :].strip(b" \t")
        for line in section.split(b"\r\n")
        if line[size : size + 1] == b":" and line[:size].lower() == name
    ]


class FieldLines:
    """Finds the lines of interest: fields in `kinds`, and names that begin with `reserved_prefix`.

    Names are in lower case, and none begins with an empty prefix. Reserved fields have the kind 0.
    `cache` has what valid lines say: at most MAX_CACHED_LINES lines of up to MAX_CACHED_LINE bytes.
    """

    __slots__ = ("_kinds", "_reserved_prefix", "cache")

    def __init__(self, kinds: dict[bytes, int], reserved_prefix: bytes) -> None:
        self._kinds = kinds
        self._reserved_prefix = reserved_prefix
        # Peers repeat most of their lines.
        self.cache: dict[bytes, LineFacts] = {}

    def find(self, block: bytes) -> list[FieldLine] | None:
        """Return the lines of interest, in order.

        Returns None unless the block consists of valid lines, and of one blank line at its end.
        """
        lines = block.split(b"\r\n")
        if len(lines) < 2 or lines.pop() or lines.pop():
            return None
        cache = self.cache
        of_interest: list[FieldLine] = []
        start = 0
        for line in lines:
            facts = cache.get(line)
            if facts is None:
                facts = self._read(line)
                if facts is None:
                    return None
            end = start + len(line) + 2
            kind, name, value = facts
            if kind >= 0:
                of_interest.append((kind, name, value, start, end))
            start = end
        return of_interest

    def _read(self, line: bytes) -> LineFacts | None:
        match = _FIELD.fullmatch(line)
        if match is None:
            return None
        name, value = match.groups()
        name = name.lower()
        kind = self._kinds.get(name, -1)
        facts = (kind, b"" if kind else name, value.rstrip(b" \t"))
        if kind < 0:
            is_reserved = self._reserved_prefix != b"" and name.startswith(self._reserved_prefix)
            facts = (0, name, facts[2]) if is_reserved else _NO_INTEREST
        if len(line) <= MAX_CACHED_LINE:
            if len(self.cache) >= MAX_CACHED_LINES:
                self.cache.clear()
            self.cache[line] = facts
        return facts
