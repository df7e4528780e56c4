"""Decodes header blocks of HPACK (RFC 7541) into lists of fields.

Keeps the dynamic table of one direction of one connection, and limits what a list may hold. Does
not know what the fields mean: each was judged by `header_field.py` when it was made, and
`request_composer.py` judges the list.
"""

from typing import Final

from cmux_proxy.http1.head_limits import HeadLimits
from cmux_proxy.http2.error_codes import COMPRESSION_ERROR, ENHANCE_YOUR_CALM
from cmux_proxy.http2.errors import ConnectionFault
from cmux_proxy.http2.field_memory import FieldMemory
from cmux_proxy.http2.header_field import LINE_OVERHEAD, TABLE_OVERHEAD, HeaderField
from cmux_proxy.http2.hpack_integer import decode_rest
from cmux_proxy.http2.huffman import HUFFMAN
from cmux_proxy.http2.static_table import STATIC_SIZE, static_entries

# SETTINGS_HEADER_TABLE_SIZE as it is without a SETTINGS frame (RFC 9113 section 6.5.2).
TABLE_SIZE: Final = 4096
# A list so many times as large as the limit ends the connection: it was made to do harm.
BOMB_FACTOR: Final = 4
# The pseudo-fields of a request, which HTTP/1 has in its request line.
_PSEUDO_FIELDS: Final = 5

# The first bits of a representation (RFC 7541 section 6).
_INDEXED: Final = 0x80
_INDEXING: Final = 0x40
_SIZE_UPDATE: Final = 0x20

_STATIC: Final = [HeaderField(b"unused", b"")] + [
    HeaderField(name, value) for name, value in static_entries()
]


class HpackDecoder:
    """The decoder of one connection; `memory` is that of the worker.

    `is_too_large` says that the last list exceeded a limit: of bytes, counted as lines of HTTP/1.1,
    or of fields. Nothing of such a list is kept, but the table is as the peer's encoder has it.
    `changes` counts those of the table: between two, the same block has the same fields.
    """

    __slots__ = (
        "_entries", "_max_fields", "_max_size", "_memory", "_size", "_table_size", "changes",
        "is_too_large",
    )  # fmt: skip

    def __init__(self, limits: HeadLimits, memory: FieldMemory) -> None:
        self._memory = memory
        self._max_size = limits.start_line + limits.section
        self._max_fields = limits.fields + _PSEUDO_FIELDS
        # The dynamic table; the newest entry is the last.
        self._entries: list[HeaderField] = []
        self._size = 0
        self._table_size = TABLE_SIZE
        self.changes = 0
        self.is_too_large = False

    def decode(self, block: bytes) -> list[HeaderField]:
        """Return the fields of a whole block, in order; raise ConnectionFault."""
        fields: list[HeaderField] = []
        self.is_too_large = False
        at = self._read_size_updates(block)
        end = len(block)
        size = count = 0
        while at < end:
            first = block[at]
            at += 1
            if first >= _INDEXED:
                index = first & 0x7F
                if index == 0x7F:
                    index, at = decode_rest(block, at, 0x7F)
                field = _STATIC[index] if 0 < index <= STATIC_SIZE else self._entry(index)
            elif first & 0xE0 == _SIZE_UPDATE:
                raise _fault("the size of the table changes inside a header block")
            else:
                field, at = self._read_literal(block, at, first)
            size += field.size - TABLE_OVERHEAD + LINE_OVERHEAD
            count += 1
            if size <= self._max_size and count <= self._max_fields:
                fields.append(field)
            else:
                self._note_excess(size, count)
                fields.clear()
        return fields

    def _note_excess(self, size: int, count: int) -> None:
        self.is_too_large = True
        if size > self._max_size * BOMB_FACTOR or count > self._max_fields * BOMB_FACTOR:
            raise ConnectionFault(ENHANCE_YOUR_CALM, "a header list is far too large")

    def _entry(self, index: int) -> HeaderField:
        """Return an entry of either table; raise ConnectionFault if there is none."""
        if 0 < index <= STATIC_SIZE:
            return _STATIC[index]
        position = len(self._entries) + STATIC_SIZE - index
        if index == 0 or position < 0:
            raise _fault("an index is in none of the tables")
        return self._entries[position]

    def _read_literal(self, block: bytes, at: int, first: int) -> tuple[HeaderField, int]:
        """Read a literal field (RFC 7541 section 6.2); return it and where it ends."""
        prefix_max = 0x3F if first >= _INDEXING else 0x0F
        index = first & prefix_max
        if index == prefix_max:
            index, at = decode_rest(block, at, prefix_max)
        if index:
            name = self._entry(index).name
        else:
            name, at = _read_string(block, at)
        value, at = _read_string(block, at)
        field = HeaderField(name, value)
        if first >= _INDEXING:
            field = self._memory.share(field)
            self._add(field)
        return field, at

    def _add(self, field: HeaderField) -> None:
        """Add an entry; one that is larger than the table empties it (RFC 7541 section 4.4)."""
        self.changes += 1
        self._size += field.size
        self._entries.append(field)
        if self._size > self._table_size:
            self._evict()

    def _evict(self) -> None:
        """Remove the oldest entries until the table is no larger than it may be."""
        count = 0
        while self._size > self._table_size:
            self._size -= self._entries[count].size
            count += 1
        del self._entries[:count]

    def _read_size_updates(self, block: bytes) -> int:
        """Obey the size updates at the start of a block; return where they end.

        RFC 7541 section 4.2 allows them there only.
        """
        at = 0
        while at < len(block) and block[at] & 0xE0 == _SIZE_UPDATE:
            size = block[at] & 0x1F
            at += 1
            if size == 0x1F:
                size, at = decode_rest(block, at, 0x1F)
            if size > TABLE_SIZE:
                raise _fault("the table would be larger than it may be")
            self.changes += 1
            self._table_size = size
            self._evict()
        return at


def _read_string(block: bytes, at: int) -> tuple[bytes, int]:
    """Read a string (RFC 7541 section 5.2); return it and where it ends."""
    if at >= len(block):
        raise _fault("a header block is cut short")
    first = block[at]
    at += 1
    length = first & 0x7F
    if length == 0x7F:
        length, at = decode_rest(block, at, 0x7F)
    end = at + length
    if end > len(block):
        raise _fault("a header block is cut short")
    text = block[at:end]
    return HUFFMAN.decode(text) if first >= 0x80 else text, end


def _fault(rule: str) -> ConnectionFault:
    """RFC 9113 section 4.3: the tables may differ from now on, so the connection ends."""
    return ConnectionFault(COMPRESSION_ERROR, rule)
