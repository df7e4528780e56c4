"""Which of the bytes that arrive are still this message's body (RFC 9112 section 6 and 7.1).

Three kinds with one interface: `feed` takes what arrived and returns what may travel on; once
`is_done`, `rest` holds the bytes behind the body. Bytes pass through unchanged and, where nothing
has to be held back, uncopied. Knows nothing of why the body ends as it does (`framing.py`).
"""

from typing import Final

from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.framing import CHUNKED, UNTIL_CLOSE
from cmux_proxy.http1.grammar import BLANK_LINE, CHUNK_LINE, CHUNK_LINE_START
from cmux_proxy.http1.trailers import forwardable_trailers

_SIZE: Final = 0
_DATA: Final = 1
_DATA_END: Final = 2
_TRAILERS: Final = 3


class Body:
    """A body that is under way."""

    __slots__ = ("is_done", "rest")

    def __init__(self) -> None:
        self.is_done = False
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

    `line` bounds one size line, `extensions` all extensions together and `trailers` the trailer
    section, in bytes; trailers whose lower-case name begins with `family` are dropped.
    """

    __slots__ = ("extensions", "family", "line", "trailers")

    def __init__(self, line: int, extensions: int, trailers: int, family: bytes) -> None:
        self.line = line
        self.extensions = extensions
        self.trailers = trailers
        self.family = family


class ChunkedBody(Body):
    """A chunked body (RFC 9112 section 7.1); with `unwrap`, only the chunks' content is returned.

    Every size line is validated as a whole before a byte of it is passed on.
    """

    __slots__ = ("_extensions", "_held", "_left", "_phase", "_rules", "_unwrap")

    def __init__(self, rules: ChunkRules, unwrap: bool) -> None:
        super().__init__()
        self._rules = rules
        self._unwrap = unwrap
        self._phase = _SIZE
        self._left = 0
        self._held = b""
        self._extensions = 0

    def feed(self, data: bytes, start: int) -> bytes:
        """Take data[start:]; return what may travel on. Raises BadMessage."""
        if self._held:
            data = self._held + data[start:]
            start = 0
            self._held = b""
        content: list[bytes] | None = [] if self._unwrap else None
        position = start
        while position < len(data) and self._phase != _TRAILERS:
            if self._phase == _DATA:
                end = min(position + self._left, len(data))
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
                next_position = self._read_size(data, position)
                if next_position == position:
                    break
                position = next_position
        if self._phase == _TRAILERS:
            return self._finish(data, start, position, content)
        self._held = data[position:]
        if content is not None:
            return b"".join(content)
        return data if start == 0 and position == len(data) else data[start:position]

    def _read_size(self, data: bytes, position: int) -> int:
        """Return where the size line at `position` ends, or `position` when it is not complete."""
        match = CHUNK_LINE.match(data, position)
        if match is None:
            line = data[position:]
            if CHUNK_LINE_START.fullmatch(line) is None:
                raise BadMessage("a chunk size line is malformed")
            if len(line) > self._rules.line:
                raise BadMessage("a chunk extension is too long")
            return position
        end = match.end()
        extension = end - match.end(1) - 2
        if extension:
            self._extensions += extension
            if extension > self._rules.line or self._extensions > self._rules.extensions:
                raise BadMessage("the chunk extensions are too long")
        self._left = int(match.group(1), 16)
        self._phase = _DATA if self._left else _TRAILERS
        return end

    def _finish(self, data: bytes, start: int, position: int, content: list[bytes] | None) -> bytes:
        """Read the trailer section at `position`; hold it back until it is complete."""
        if data.startswith(b"\r\n", position):
            end = position + 2
            trailers = b"\r\n"
        else:
            blank = data.find(BLANK_LINE, position)
            if blank < 0:
                self._held = data[position:]
                if len(self._held) > self._rules.trailers:
                    raise BadMessage("the trailer section is too large")
                return b"".join(content) if content is not None else data[start:position]
            end = blank + 4
            if end - position > self._rules.trailers:
                raise BadMessage("the trailer section is too large")
            trailers = forwardable_trailers(data[position:end], self._rules.family)
        self.is_done = True
        self.rest = data[end:]
        if content is not None:
            return b"".join(content)
        if end - position == len(trailers):
            return data if start == 0 and end == len(data) else data[start:end]
        return data[start:position] + trailers


def new_body(framing: int, rules: ChunkRules, unwrap: bool) -> Body:
    """Return the body that `framing` calls for; `unwrap` takes chunks out of their coding."""
    if framing == CHUNKED:
        return ChunkedBody(rules, unwrap)
    if framing == UNTIL_CLOSE:
        return UntilCloseBody()
    return LengthBody(framing)
