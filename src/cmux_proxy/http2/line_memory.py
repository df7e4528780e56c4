"""Field lines of HTTP/1.1 as literals of HPACK, remembered for all connections of a worker.

Decides which lines are worth an entry in the tables of clients. Does not know tables:
`hpack_encoder.py` has one for each connection.
"""

from typing import Final

from mypy_extensions import mypyc_attr

from cmux_proxy.http2.header_field import TABLE_OVERHEAD
from cmux_proxy.http2.hpack_integer import encode_integer
from cmux_proxy.http2.huffman import HUFFMAN
from cmux_proxy.http2.static_table import static_entries

MAX_LINES: Final = 1024
MAX_LINE_SIZE: Final = 512
# A line that has been sent so many times is expected to come again.
COMMON_AFTER: Final = 4

# The first bits of a literal (RFC 7541 section 6.2).
_WITHOUT_INDEXING: Final = 0x00
_NEVER_INDEXED: Final = 0x10
_WITH_INDEXING: Final = 0x40
_HUFFMAN: Final = 0x80

# Fields of one connection of HTTP/1 (RFC 9113 section 8.2.2).
_CONNECTION_FIELDS: Final = frozenset(
    [b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"]
)
# Their values change, so that an entry would be of use once.
_VARYING: Final = frozenset(
    b"age content-length content-range date etag expires last-modified location "
    b"proxy-status x-request-id".split()
)
# A table must not help to guess them (RFC 7541 section 7.1.3).
_SECRET: Final = frozenset([b"set-cookie", b"authorization", b"www-authenticate"])

_NAME_INDEXES: Final[dict[bytes, int]] = {
    name: index for index, (name, _value) in reversed([*enumerate(static_entries(), 1)])
}


@mypyc_attr(acyclic=True)
class EncodedLine:
    """One line: `literal` leaves tables as they are, and `indexing` adds an entry of `size` bytes.

    `literal` is empty if the line may not be sent, `indexing` if it should not enter a table, or
    not yet: `uses` counts up to COMMON_AFTER.
    """

    __slots__ = ("indexing", "literal", "size", "uses")

    def __init__(self, literal: bytes, size: int) -> None:
        self.literal = literal
        self.indexing = b""
        self.size = size
        self.uses = 0


class LineMemory:
    """Lines of at most MAX_LINE_SIZE bytes, without their CRLF; at most MAX_LINES of each kind.

    `literals` are those that never enter a table, `candidates` those that may.
    """

    __slots__ = ("candidates", "literals")

    def __init__(self) -> None:
        self.literals: dict[bytes, bytes] = {}
        self.candidates: dict[bytes, EncodedLine] = {}

    def encode(self, line: bytes) -> EncodedLine:
        """Encode a valid line, and remember it unless it is large or secret."""
        encoded = self.candidates.get(line)
        if encoded is not None:
            self._note_use(line, encoded)
            return encoded
        name, value = split_line(line)
        if name in _CONNECTION_FIELDS:
            return self._keep_literal(line, b"")
        if name in _SECRET:
            return EncodedLine(_literal(name, value, _NEVER_INDEXED, 0x0F, False), 0)
        literal = _literal(name, value, _WITHOUT_INDEXING, 0x0F, False)
        if len(line) > MAX_LINE_SIZE:
            return EncodedLine(literal, 0)
        if name in _VARYING:
            return self._keep_literal(line, literal)
        return self._keep_candidate(line, literal, len(name) + len(value) + TABLE_OVERHEAD)

    def _keep_literal(self, line: bytes, literal: bytes) -> EncodedLine:
        if len(self.literals) >= MAX_LINES:
            self.literals.clear()
        self.literals[line] = literal
        return EncodedLine(literal, 0)

    def _keep_candidate(self, line: bytes, literal: bytes, size: int) -> EncodedLine:
        if len(self.candidates) >= MAX_LINES:
            self.candidates.clear()
        encoded = self.candidates[line] = EncodedLine(literal, size)
        self._note_use(line, encoded)
        return encoded

    def _note_use(self, line: bytes, encoded: EncodedLine) -> None:
        """Count a use of a line; encode it for tables when it is about to be common."""
        if encoded.uses < COMMON_AFTER:
            encoded.uses += 1
        elif len(encoded.indexing) == 0:
            name, value = split_line(line)
            encoded.indexing = _literal(name, value, _WITH_INDEXING, 0x3F, True)


def split_line(line: bytes) -> tuple[bytes, bytes]:
    """Return the lower-case name of a valid line and its value without white space around it."""
    name, _colon, value = line.partition(b":")
    return name.lower(), value.strip(b" \t")


def _literal(name: bytes, value: bytes, pattern: int, prefix_max: int, is_short: bool) -> bytes:
    """Encode a literal field; `is_short` spends time on a Huffman string."""
    index = _NAME_INDEXES.get(name, 0)
    start = encode_integer(index, prefix_max, pattern)
    if not index:
        start += encode_string(name, is_short)
    return start + encode_string(value, is_short)


def encode_string(text: bytes, is_short: bool) -> bytes:
    """Return a string literal (RFC 7541 section 5.2), with `is_short` the shorter of its forms."""
    if is_short and HUFFMAN.encoded_size(text) < len(text):
        encoded = HUFFMAN.encode(text)
        return encode_integer(len(encoded), 0x7F, _HUFFMAN) + encoded
    return encode_integer(len(text), 0x7F, 0) + text
