"""The bodies of responses: size lines that do not follow the RFC are normalized.

Accepts size lines that services send and `chunked_body.py` refuses: with blanks, and with any
number of leading zeros. The bodies of requests are never read by this file.
"""

import re
from typing import Final

from cmux_proxy.http1.body import Body, LengthBody, UntilCloseBody
from cmux_proxy.http1.chunked_body import ChunkedBody, ChunkRules
from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.framing import CHUNKED, UNTIL_CLOSE
from cmux_proxy.http1.grammar import ANY_CHUNK_LINE, ANY_CHUNK_LINE_START, CHUNK_LINE
from cmux_proxy.http1.head import ResponseHead

# More digits could overflow a 64-bit integer.
_MAX_DIGITS: Final = 15
_ZERO: Final = 0x30


class ResponseChunkedBody(ChunkedBody):
    """A chunked body whose size lines may have blanks and leading zeros; both are removed."""

    __slots__ = ("_copied", "_normalized")

    def __init__(self, rules: ChunkRules, unwrap: bool) -> None:
        super().__init__(rules, unwrap)
        # After a size line was replaced: the bytes up to and with the new line, and where the
        # original line ended.
        self._normalized: list[bytes] = []
        self._copied = 0

    def _read_size(self, data: bytes, start: int, position: int) -> int:
        match = CHUNK_LINE.match(data, position)
        if match is None:
            match = ANY_CHUNK_LINE.match(data, position)
            return 0 if match is None else self._replace_size_line(data, start, match)
        if data[position] == _ZERO and match.end(1) - position > 1:
            return self._replace_size_line(data, start, match)
        return self._begin_chunk(match)

    def _replace_size_line(self, data: bytes, start: int, match: re.Match[bytes]) -> int:
        """Replace a size line by one that has only the size; return where the original ends."""
        line = match.group()[:-2]
        self._check_size_line(line)
        extension = line.find(b";")
        if extension >= 0:
            self._count_extension(len(line) - extension)
        digits = match.group(1).lstrip(b"0") or b"0"
        if len(digits) > _MAX_DIGITS:
            raise BadMessage("a chunk is too large")
        self._begin_content(int(digits, 16))
        self.is_normalized = True
        end = match.end()
        if not self._unwrap:
            unchanged = data[self._copied if self._normalized else start : match.start()]
            self._normalized += (unchanged, digits + b"\r\n")
            self._copied = end
        return end

    def _forwarded(self, data: bytes, start: int, end: int) -> bytes:
        if not self._normalized:
            return super()._forwarded(data, start, end)
        self._normalized.append(data[self._copied : end])
        forwarded = b"".join(self._normalized)
        self._normalized.clear()
        return forwarded

    def _may_be_size_line(self, start: bytes) -> bool:
        return ANY_CHUNK_LINE_START.fullmatch(start) is not None


def response_body(framing: int, rules: ChunkRules, unwrap: bool) -> Body:
    """Return the body of a response with that framing; `unwrap` removes the chunked coding."""
    if framing == CHUNKED:
        return ResponseChunkedBody(rules, unwrap)
    if framing == UNTIL_CLOSE:
        return UntilCloseBody()
    return LengthBody(framing)


def feed_rest(body: Body, head: ResponseHead) -> bytes:
    """Feed the bytes behind a head to its body; return the bytes to forward. Raises BadMessage."""
    return body.feed(head.buffer, head.end)
