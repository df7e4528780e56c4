"""Encodes response heads and trailers of HTTP/1.1 as header blocks of HPACK (RFC 7541).

Keeps the client's dynamic table of one connection. Entries are added until the table is full, and
never evicted: the lines that a service repeats are few, and what came first stays valid. Does not
know frames, nor whether a head is well-formed: the scan of responses has judged it.
"""

from typing import Final

from cmux_proxy.http2.hpack_decoder import TABLE_SIZE
from cmux_proxy.http2.hpack_integer import encode_integer
from cmux_proxy.http2.line_memory import COMMON_AFTER, EncodedLine, LineMemory, encode_string
from cmux_proxy.http2.static_table import STATIC_SIZE, static_entries

_INDEXED: Final = 0x80
_SIZE_UPDATE: Final = 0x20
# The index of the first :status, whose name a literal refers to (RFC 7541 section 6.2.2).
_STATUS_NAME: Final = b"\x08"

_STATUSES: Final[dict[bytes, bytes]] = {
    value: bytes([_INDEXED | index])
    for index, (name, value) in enumerate(static_entries(), 1)
    if name == b":status"
}
# Indexed fields of one byte.
_INDEXES: Final = [bytes([_INDEXED | index]) for index in range(0x7F)]


class HpackEncoder:
    """The encoder of one connection; `memory` is that of the worker."""

    __slots__ = ("_memory", "_positions", "_size", "_size_updates", "_table_size")

    def __init__(self, memory: LineMemory) -> None:
        self._memory = memory
        # Which entry of the table a line is; the first is 0.
        self._positions: dict[bytes, int] = {}
        self._size = 0
        self._table_size = TABLE_SIZE
        # What the next block begins with.
        self._size_updates = b""

    def limit_table(self, size: int) -> None:
        """Obey the client's SETTINGS_HEADER_TABLE_SIZE; it must not exceed TABLE_SIZE.

        The table is emptied first, so that no entry has to be evicted (RFC 7541 section 4.2).
        """
        if size != self._table_size:
            self._table_size = size
            self._positions.clear()
            self._size = 0
            self._size_updates = encode_integer(0, 0x1F, _SIZE_UPDATE)
            if size:
                self._size_updates += encode_integer(size, 0x1F, _SIZE_UPDATE)

    def encode_head(self, head: bytes) -> bytes:
        """Return the block of a response head that ends with its blank line.

        Fields of one connection are left out (RFC 9113 section 8.2.2).
        """
        lines = head.split(b"\r\n")
        status = lines[0][9:12]
        encoded = _STATUSES.get(status)
        if encoded is None:
            encoded = _STATUS_NAME + encode_string(status, False)
        return self._block(encoded, lines, 1, len(lines) - 2)

    def encode_trailers(self, trailers: bytes) -> bytes:
        """Return the block of trailer lines, each of which ends with CRLF."""
        lines = trailers.split(b"\r\n")
        return self._block(b"", lines, 0, len(lines) - 1)

    def _block(self, start: bytes, lines: list[bytes], first: int, end: int) -> bytes:
        """Return a block of `start` and lines[first:end]."""
        pieces = [self._size_updates, start]
        if len(self._size_updates) > 0:
            self._size_updates = b""
        remembered = self._memory.lines
        for number in range(first, end):
            line = lines[number]
            encoded = remembered.get(line)
            if encoded is None:
                encoded = self._memory.encode(line)
            if encoded.may_index:
                pieces.append(self._common_line(line, encoded))
            else:
                pieces.append(encoded.literal)
        return b"".join(pieces)

    def _common_line(self, line: bytes, encoded: EncodedLine) -> bytes:
        """Return a line that may enter the table: as an entry, a new entry, or a literal."""
        if encoded.uses < COMMON_AFTER:
            self._memory.note_use(line, encoded)
            return encoded.literal
        position = self._positions.get(line, -1)
        if position >= 0:
            index = STATIC_SIZE + len(self._positions) - position
            return _INDEXES[index] if index < 0x7F else encode_integer(index, 0x7F, _INDEXED)
        if self._size + encoded.size > self._table_size:
            return encoded.literal
        self._positions[line] = len(self._positions)
        self._size += encoded.size
        return encoded.indexing
