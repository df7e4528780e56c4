"""A chunked body (RFC 9112 section 7.1): its size lines, the content of its chunks, its trailers.

Does not know which trailers may be forwarded (`trailers.py`), nor which loose size lines are
normalized (`response_body.py`).
"""

import re
from typing import Final

from cmux_proxy.http1.body import Body
from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.grammar import CHUNK_LINE, CHUNK_LINE_START
from cmux_proxy.http1.trailers import may_forward_trailer

_SIZE: Final = 0
_DATA: Final = 1
_DATA_END: Final = 2
_TRAILERS: Final = 3

# How many bytes of an unfinished size line are checked; the rest is checked when the line ends.
_CHECKED_START: Final = 32


class ChunkRules:
    """The limits of a chunked body besides its content, in bytes, and the trailers to drop.

    `line` limits the extensions of one chunk, `extensions` those of all chunks, and `trailers` the
    lines of the trailer section. Trailers whose lower-case name begins with `reserved_prefix` are
    dropped.
    """

    __slots__ = ("extensions", "line", "reserved_prefix", "trailers")

    def __init__(self, line: int, extensions: int, trailers: int, reserved_prefix: bytes) -> None:
        self.line = line
        self.extensions = extensions
        self.trailers = trailers
        self.reserved_prefix = reserved_prefix


class ChunkedBody(Body):
    """A chunked body (RFC 9112 section 7.1); with `unwrap`, only the chunks' content is returned.

    A size line or a trailer is forwarded only after all of it has been validated.
    """

    __slots__ = (
        "_extensions_size",
        "_pending",
        "_phase",
        "_remaining",
        "_rules",
        "_trailers_size",
        "_unwrap",
    )

    def __init__(self, rules: ChunkRules, unwrap: bool) -> None:
        super().__init__()
        self._rules = rules
        self._unwrap = unwrap
        self._phase = _SIZE
        self._remaining = 0
        # The beginning of a line whose end has not arrived.
        self._pending = b""
        self._extensions_size = 0
        # The size of all trailers that were read.
        self._trailers_size = 0

    def feed(self, data: bytes, start: int) -> bytes:
        """Take data[start:]; return the bytes to forward. Raises BadMessage."""
        if self._pending:
            if self._phase != _DATA_END and data.find(b"\n", start) < 0:
                self._hold(self._pending + data[start:])
                return b""
            data = self._pending + data[start:]
            start = 0
            self._pending = b""
        content: list[bytes] | None = [] if self._unwrap else None
        position = self._read_chunks(data, start, content)
        if self._phase == _TRAILERS:
            return self._read_trailers(data, start, position, content)
        self._pending = data[position:]
        if content is not None:
            return b"".join(content)
        return self._forwarded(data, start, position)

    def _forwarded(self, data: bytes, start: int, end: int) -> bytes:
        """Return data[start:end] with its size lines, without a copy if that is all of `data`."""
        return data if start == 0 and end == len(data) else data[start:end]

    def _read_chunks(self, data: bytes, start: int, content: list[bytes] | None) -> int:
        """Read chunks, and add their content; return the position of the first byte not read."""
        size = len(data)
        position = start
        while position < size and self._phase != _TRAILERS:
            if self._phase == _DATA:
                end = min(position + self._remaining, size)
                if content is not None:
                    content.append(data[position:end])
                self._remaining -= end - position
                position = end
                if not self._remaining:
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
        """Read the size line at `position`; return its end, or 0 if it is incomplete or invalid."""
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
        self._extensions_size += size
        if size > self._rules.line or self._extensions_size > self._rules.extensions:
            raise BadMessage("the chunk extensions are too long")

    def _begin_content(self, size: int) -> None:
        self._remaining = size
        self._phase = _DATA if size else _TRAILERS

    def _hold(self, line: bytes) -> None:
        """Keep a line that has not ended; raise BadMessage if it cannot become a valid line."""
        if self._phase == _TRAILERS:
            if line != b"\r" and self._trailers_size + len(line) > self._rules.trailers:
                raise BadMessage("the trailer section is too large")
        else:
            # The rest of a long line is checked when the line ends, so that the work is linear.
            if b"\n" not in line:
                is_checked = len(self._pending) >= _CHECKED_START
                start = b"" if is_checked else line[:_CHECKED_START]
            else:
                start = line
            if not self._may_be_size_line(start):
                raise BadMessage("a chunk size line is malformed")
            self._check_size_line(line.removesuffix(b"\r"))
        self._pending = line

    def _check_size_line(self, line: bytes) -> None:
        """Raise BadMessage if the extensions after the size are longer than the rules allow."""
        extension = line.find(b";")
        size_end = _CHECKED_START if extension < 0 else min(extension, _CHECKED_START)
        if len(line) - size_end > self._rules.line:
            raise BadMessage("the chunk extensions are too long")

    def _may_be_size_line(self, start: bytes) -> bool:
        """Return whether a size line may begin with `start`."""
        return CHUNK_LINE_START.fullmatch(start) is not None

    def _read_trailers(
        self, data: bytes, start: int, position: int, content: list[bytes] | None
    ) -> bytes:
        """Read trailers at `position`; return the bytes to forward.

        Trailers are forwarded only when all of them have arrived.
        """
        chunks_end = position
        while True:
            end = data.find(b"\n", position) + 1
            if not end:
                self._hold(data[position:])
                if content is not None:
                    return b"".join(content)
                return self._forwarded(data, start, chunks_end)
            line = data[position:end]
            position = end
            if line == b"\r\n":
                break
            self._trailers_size += len(line)
            if self._trailers_size > self._rules.trailers:
                raise BadMessage("the trailer section is too large")
            if may_forward_trailer(line, self._rules.reserved_prefix):
                self.trailers += line
        self.is_done = True
        self.trailing_data = data[position:]
        if content is not None:
            return b"".join(content)
        if position == chunks_end + 2 and not self.trailers:
            return self._forwarded(data, start, position)
        return self._forwarded(data, start, chunks_end) + self.trailers + b"\r\n"
