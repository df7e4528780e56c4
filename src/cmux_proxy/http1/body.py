"""Which of the bytes that arrive are still this message's body (RFC 9112 section 6 and 7.1).

Three kinds with one interface: `feed` takes what arrived and returns what may travel on; once
`is_done`, `rest` holds the bytes behind the body. Bytes pass through unchanged and, where nothing
has to be held back, uncopied. Knows nothing of why the body ends as it does (`framing.py`).
"""

import re
from typing import Final

from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.framing import CHUNKED
from cmux_proxy.http1.grammar import CHUNK_LINE, CHUNK_LINE_START
from cmux_proxy.http1.trailers import may_forward_trailer

_SIZE: Final = 0
_DATA: Final = 1
_DATA_END: Final = 2
_TRAILERS: Final = 3

# How much of an unfinished size line is judged byte by byte.
_LOOKED_AT: Final = 32


class Body:
    """A body that is under way."""

    __slots__ = ("is_done", "is_mended", "rest")

    def __init__(self) -> None:
        self.is_done = False
        # Whether bytes around the content were not as they should be.
        self.is_mended = False
        self.rest = b""

    def feed(self, data: bytes, start: int) -> bytes:
        """Take data[start:]; return the bytes to forward. Raises BadMessage."""
        raise NotImplementedError

    def ends_with_connection(self) -> bool:
        """Return whether the end of the connection completes this body."""
        return False


class LengthBody(Body):
    """A body of a known number of bytes (Content-Length)."""

    __slots__ = ("left",)

    def __init__(self, length: int) -> None:
        super().__init__()
        self.left = length
        self.is_done = length == 0

    def feed(self, data: bytes, start: int) -> bytes:
        """Take data[start:]; return the part that belongs to the body."""
        end = start + self.left
        if end > len(data):
            self.left = end - len(data)
            return data[start:] if start else data
        self.left = 0
        self.is_done = True
        if start == 0 and end == len(data):
            # Compiled, even a slice of the whole would be a copy.
            return data
        self.rest = data[end:]
        return data[start:end]


class UntilCloseBody(Body):
    """A response body that the end of the connection ends."""

    __slots__ = ()

    def feed(self, data: bytes, start: int) -> bytes:
        """Take data[start:]; all of it is body."""
        return data[start:] if start else data

    def ends_with_connection(self) -> bool:
        """Return True."""
        return True


class ChunkRules:
    """What a chunked body may have around its content.

    `line` bounds the extensions of one chunk, `extensions` those of all together and `trailers`
    the lines of the trailer section, in bytes; trailers whose lower-case name begins with
    `family` are dropped.
    """

    __slots__ = ("extensions", "family", "line", "trailers")

    def __init__(self, line: int, extensions: int, trailers: int, family: bytes) -> None:
        self.line = line
        self.extensions = extensions
        self.trailers = trailers
        self.family = family


class ChunkedBody(Body):
    """A chunked body (RFC 9112 section 7.1); with `unwrap`, only the chunks' content is returned.

    Every size line and trailer is validated as a whole before a byte of it is passed on.
    """

    __slots__ = (
        "_extensions",
        "_held",
        "_left",
        "_phase",
        "_rules",
        "_trailers",
        "_unwrap",
        "_walked",
    )

    def __init__(self, rules: ChunkRules, unwrap: bool) -> None:
        super().__init__()
        self._rules = rules
        self._unwrap = unwrap
        self._phase = _SIZE
        self._left = 0
        # The beginning of a line whose end is still under way.
        self._held = b""
        self._extensions = 0
        # The trailers to forward, and the size of all trailers read.
        self._trailers = b""
        self._walked = 0

    def feed(self, data: bytes, start: int) -> bytes:
        """Take data[start:]; return what may travel on. Raises BadMessage."""
        if self._held:
            if self._phase != _DATA_END and data.find(b"\n", start) < 0:
                self._hold(self._held + data[start:])
                return b""
            data = self._held + data[start:]
            start = 0
            self._held = b""
        content: list[bytes] | None = [] if self._unwrap else None
        position = self._walk(data, start, content)
        if self._phase == _TRAILERS:
            return self._finish(data, start, position, content)
        self._held = data[position:]
        if content is not None:
            return b"".join(content)
        return self._pass(data, start, position)

    def _pass(self, data: bytes, start: int, end: int) -> bytes:
        """Return data[start:end], chunks and all, uncopied where that is everything."""
        return data if start == 0 and end == len(data) else data[start:end]

    def _walk(self, data: bytes, start: int, content: list[bytes] | None) -> int:
        """Step over chunks; return where the first byte stands that cannot be judged yet."""
        size = len(data)
        position = start
        while position < size and self._phase != _TRAILERS:
            if self._phase == _DATA:
                end = min(position + self._left, size)
                if content is not None:
                    content.append(data[position:end])
                self._left -= end - position
                position = end
                if not self._left:
                    self._phase = _DATA_END
            elif self._phase == _DATA_END:
                if not data.startswith(b"\r\n", position):
                    if data[position:] == b"\r":
                        break
                    raise BadMessage("a chunk does not end in CRLF")
                position += 2
                self._phase = _SIZE
            else:
                end = self._read_size(data, start, position)
                if not end:
                    self._hold(data[position:])
                    break
                position = end
        return position

    def _read_size(self, data: bytes, start: int, position: int) -> int:
        """Take the size line at `position`; return where it ends, 0 where it is none (yet)."""
        match = CHUNK_LINE.match(data, position)
        return 0 if match is None else self._begin_chunk(match)

    def _begin_chunk(self, match: re.Match[bytes]) -> int:
        end = match.end()
        extension = end - match.end(1) - 2
        if extension:
            self._count_extension(extension)
        self._begin_content(int(match.group(1), 16))
        return end

    def _count_extension(self, size: int) -> None:
        self._extensions += size
        if size > self._rules.line or self._extensions > self._rules.extensions:
            raise BadMessage("the chunk extensions are too long")

    def _begin_content(self, size: int) -> None:
        self._left = size
        self._phase = _DATA if size else _TRAILERS

    def _hold(self, line: bytes) -> None:
        """Keep a line that has not ended, unless it can no longer become a valid one."""
        if self._phase == _TRAILERS:
            if line != b"\r" and self._walked + len(line) > self._rules.trailers:
                raise BadMessage("the trailer section is too large")
        else:
            # A long line is looked at again when it has ended, so that the work is linear.
            if b"\n" not in line:
                is_known = len(self._held) >= _LOOKED_AT
                start = b"" if is_known else line[:_LOOKED_AT]
            else:
                start = line
            if not self._may_be_size(start):
                raise BadMessage("a chunk size line is malformed")
            self._check_size_line(line.removesuffix(b"\r"))
        self._held = line

    def _check_size_line(self, line: bytes) -> None:
        """Raise BadMessage where more stands behind the size than the rules allow."""
        extension = line.find(b";")
        before = _LOOKED_AT if extension < 0 else min(extension, _LOOKED_AT)
        if len(line) - before > self._rules.line:
            raise BadMessage("the chunk extensions are too long")

    def _may_be_size(self, start: bytes) -> bool:
        """Return whether a size line may begin so."""
        return CHUNK_LINE_START.fullmatch(start) is not None

    def _finish(self, data: bytes, start: int, position: int, content: list[bytes] | None) -> bytes:
        """Read trailers at `position`; they are held back until all have come."""
        chunks_end = position
        while True:
            end = data.find(b"\n", position) + 1
            if not end:
                self._hold(data[position:])
                return self._pass(data, start, chunks_end) if content is None else b"".join(content)
            line = data[position:end]
            position = end
            if line == b"\r\n":
                break
            self._walked += len(line)
            if self._walked > self._rules.trailers:
                raise BadMessage("the trailer section is too large")
            if may_forward_trailer(line, self._rules.family):
                self._trailers += line
        self.is_done = True
        self.rest = data[position:]
        if content is not None:
            return b"".join(content)
        if position == chunks_end + 2 and not self._trailers:
            return self._pass(data, start, position)
        return self._pass(data, start, chunks_end) + self._trailers + b"\r\n"


def request_body(framing: int, rules: ChunkRules) -> Body:
    """Return the body of a request that `framing` calls for."""
    return ChunkedBody(rules, False) if framing == CHUNKED else LengthBody(framing)
