"""The bodies of responses: chunk lines that services write loosely leave cleanly.

Knows what a service may put into a size line besides what `body.py` takes: blanks, any number of
zeros. Requests are never read like this.
"""

import re
from typing import Final

from cmux_proxy.http1.body import Body, ChunkedBody, ChunkRules, LengthBody, UntilCloseBody
from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.framing import CHUNKED, UNTIL_CLOSE
from cmux_proxy.http1.grammar import ANY_CHUNK_LINE, ANY_CHUNK_LINE_START, CHUNK_LINE

# More would not fit a reader's 64-bit integer.
_MAX_DIGITS: Final = 15
_ZERO: Final = 0x30


class ResponseChunkedBody(ChunkedBody):
    """A chunked body whose size lines may have blanks and leading zeros, which do not travel on."""

    __slots__ = ("_copied", "_pieces")

    def __init__(self, rules: ChunkRules, unwrap: bool) -> None:
        super().__init__(rules, unwrap)
        # Where size lines were written anew: what comes before the last one, and where it ended.
        self._pieces: list[bytes] = []
        self._copied = 0

    def _read_size(self, data: bytes, start: int, position: int) -> int:
        match = CHUNK_LINE.match(data, position)
        if match is None:
            match = ANY_CHUNK_LINE.match(data, position)
            return 0 if match is None else self._mend(data, start, match)
        if data[position] == _ZERO and match.end(1) - position > 1:
            return self._mend(data, start, match)
        return self._begin_chunk(match)

    def _mend(self, data: bytes, start: int, match: re.Match[bytes]) -> int:
        """Replace a size line by one with nothing but the size; return where the line ends."""
        line = match.group()[:-2]
        self._check_size_line(line)
        extension = line.find(b";")
        if extension >= 0:
            self._count_extension(len(line) - extension)
        digits = match.group(1).lstrip(b"0") or b"0"
        if len(digits) > _MAX_DIGITS:
            raise BadMessage("a chunk is too large")
        self._begin_content(int(digits, 16))
        self.is_mended = True
        end = match.end()
        if not self._unwrap:
            before = data[self._copied if self._pieces else start : match.start()]
            self._pieces += (before, digits + b"\r\n")
            self._copied = end
        return end

    def _pass(self, data: bytes, start: int, end: int) -> bytes:
        if not self._pieces:
            return super()._pass(data, start, end)
        self._pieces.append(data[self._copied : end])
        passed = b"".join(self._pieces)
        self._pieces.clear()
        return passed

    def _may_be_size(self, start: bytes) -> bool:
        return ANY_CHUNK_LINE_START.fullmatch(start) is not None


def response_body(framing: int, rules: ChunkRules, unwrap: bool) -> Body:
    """Return the body that `framing` calls for; `unwrap` takes chunks out of their coding."""
    if framing == CHUNKED:
        return ResponseChunkedBody(rules, unwrap)
    if framing == UNTIL_CLOSE:
        return UntilCloseBody()
    return LengthBody(framing)
