"""Encodes heads and trailers of HTTP/1.1 as header blocks of HPACK (RFC 7541).

Keeps the client's dynamic table of one connection. Entries are added until the table is full, and
never evicted: the lines that a service repeats are few, and what came first stays valid. Does not
know whether a head is well-formed: the scan of responses has judged it. In a compiled build
`_fast_frames.pyx` writes the frames of most heads.
"""

from typing import Final

from cmux_proxy.http2.frame_types import DATA, END_STREAM, HEADER_SIZE
from cmux_proxy.http2.frame_writer import frame_header, headers_frames, response_frames
from cmux_proxy.http2.hpack_decoder import TABLE_SIZE
from cmux_proxy.http2.hpack_integer import encode_integer
from cmux_proxy.http2.http2_limits import MAX_KEPT_HEAD
from cmux_proxy.http2.line_memory import COMMON_AFTER, LineMemory, encode_string
from cmux_proxy.http2.static_table import STATIC_SIZE, static_entries

try:
    from cmux_proxy.http2._fast_frames import MAX_FAST_HEAD
    from cmux_proxy.http2._fast_frames import head_frame as fast_head_frame
except ImportError:
    HAS_FAST_FRAMES = False
else:
    HAS_FAST_FRAMES = True

# The lines of a head that has come more often in a row are in the table, if they will ever be.
_SETTLED_AFTER: Final = COMMON_AFTER + 2

_INDEXED: Final = 0x80
_SIZE_UPDATE: Final = 0x20
# The indexes of names to which a literal refers (RFC 7541 section 6.2.2).
_STATUS_NAME: Final = b"\x08"

_METHOD_NAME: Final = b"\x02"
_AUTHORITY_NAME: Final = b"\x01"
_PATH_NAME: Final = b"\x04"
_METHODS: Final = {b"GET": b"\x82", b"POST": b"\x83"}
_SCHEMES: Final = {b"http": b"\x86", b"https": b"\x87"}
_STATUSES: Final[dict[bytes, bytes]] = {
    value: bytes([_INDEXED | index])
    for index, (name, value) in enumerate(static_entries(), 1)
    if name == b":status"
}
# Indexed fields of one byte.
_INDEXES: Final = [bytes([_INDEXED | index]) for index in range(0x7F)]


class HpackEncoder:
    """The encoder of one connection; `memory` is that of the worker."""

    __slots__ = (
        "_kept_block", "_kept_entries", "_kept_head", "_kept_uses", "_memory", "_positions",
        "_size", "_size_updates", "_table_size",
    )  # fmt: skip

    def __init__(self, memory: LineMemory) -> None:
        self._memory = memory
        # Which entry of the table a line is; the first is 0.
        self._positions: dict[bytes, int] = {}
        self._size = 0
        self._table_size = TABLE_SIZE
        # What the next block begins with.
        self._size_updates = b""
        # The last head, how often it has come in a row, and once that is often, its block, which is
        # valid while the table has so many entries.
        self._kept_head = b""
        self._kept_uses = 0
        self._kept_block = b""
        self._kept_entries = 0

    def limit_table(self, size: int) -> None:
        """Obey the client's SETTINGS_HEADER_TABLE_SIZE; it must not exceed TABLE_SIZE.

        The table is emptied first, so that no entry has to be evicted (RFC 7541 section 4.2).
        """
        if size != self._table_size:
            self._table_size = size
            self._positions.clear()
            self._size = 0
            self._kept_head = self._kept_block = b""
            self._size_updates = encode_integer(0, 0x1F, _SIZE_UPDATE)
            if size:
                self._size_updates += encode_integer(size, 0x1F, _SIZE_UPDATE)

    def response_frames(self, stream_id: int, head: bytes, body: bytes) -> bytes:
        """Return the frames of a whole response, whose body fits into one."""
        if self._is_kept(head):
            return response_frames(stream_id, self._kept_block, body)
        frames = self._new_head_frames(stream_id, head, False)
        return b"".join((frames, frame_header(len(body), DATA, END_STREAM, stream_id), body))

    def head_frames(self, stream_id: int, head: bytes, is_last: bool) -> bytes:
        """Return the frames of a response head that ends with its blank line.

        Fields of one connection are left out (RFC 9113 section 8.2.2).
        """
        if self._is_kept(head):
            return headers_frames(stream_id, self._kept_block, is_last)
        return self._new_head_frames(stream_id, head, is_last)

    def _is_kept(self, head: bytes) -> bool:
        """Return whether the kept block is that of this head, and valid."""
        has_block = len(self._kept_block) > 0 and len(self._positions) == self._kept_entries
        return has_block and head == self._kept_head

    def _new_head_frames(self, stream_id: int, head: bytes, is_last: bool) -> bytes:
        entries = len(self._positions)
        if head != self._kept_head:
            self._kept_head = head if len(head) <= MAX_KEPT_HEAD else b""
            self._kept_uses = 0
            self._kept_block = b""
        self._kept_uses += 1
        frames = self._encode_head(stream_id, head, is_last)
        if self._kept_uses > _SETTLED_AFTER:
            # A block that has just added entries is not valid again, and does not become it.
            self._kept_block = frames[HEADER_SIZE:]
            self._kept_entries = entries
        return frames

    def _encode_head(self, stream_id: int, head: bytes, is_last: bool) -> bytes:
        start = self._size_updates
        self._size_updates = b""
        if HAS_FAST_FRAMES and len(head) <= MAX_FAST_HEAD:
            return fast_head_frame(
                stream_id, is_last, head, start, self._memory.literals, self._positions, self
            )
        lines = head.split(b"\r\n")
        start += _encode_status(head[9:12])
        return headers_frames(stream_id, self._block(start, lines, 1, len(lines) - 2), is_last)

    def encode_request(self, head: bytes, scheme: bytes) -> bytes:
        """Return the block of a request head that ends with its blank line.

        Its target is in origin form, or "*"; Host becomes `:authority` (RFC 9113 section 8.3.1).
        """
        lines = head.split(b"\r\n")
        method, path, _version = lines[0].split(b" ")
        host = b""
        kept: list[bytes] = []
        for number in range(1, len(lines) - 2):
            line = lines[number]
            if line[:5].lower() == b"host:":
                host = line[5:].strip(b" \t")
            elif line[:3].lower() == b"te:":
                # HTTP/1 has other members, and the proxy sends this one alone.
                kept.append(b"te: trailers")
            else:
                kept.append(line)
        start = self._size_updates
        self._size_updates = b""
        encoded = _METHODS.get(method)
        start += _METHOD_NAME + encode_string(method, False) if encoded is None else encoded
        start += _SCHEMES[scheme] + _PATH_NAME + encode_string(path, False)
        start += _AUTHORITY_NAME + encode_string(host, False)
        return self._block(start, kept, 0, len(kept))

    def encode_trailers(self, trailers: bytes) -> bytes:
        """Return the block of trailer lines, each of which ends with CRLF."""
        lines = trailers.split(b"\r\n")
        start = self._size_updates
        self._size_updates = b""
        return self._block(start, lines, 0, len(lines) - 1)

    def _block(self, start: bytes, lines: list[bytes], first: int, end: int) -> bytes:
        """Return a block of `start` and lines[first:end]."""
        pieces = [start]
        literals = self._memory.literals
        for number in range(first, end):
            line = lines[number]
            encoded = literals.get(line)
            if encoded is None:
                encoded = self.encode_line(line)
            pieces.append(encoded)
        return b"".join(pieces)

    def encode_line(self, line: bytes) -> bytes:
        """Return a line as an entry of the table, as a new entry, or as a literal."""
        position = self._positions.get(line, -1)
        if position >= 0:
            index = STATIC_SIZE + len(self._positions) - position
            return _INDEXES[index] if index < 0x7F else encode_integer(index, 0x7F, _INDEXED)
        encoded = self._memory.encode(line)
        if len(encoded.indexing) == 0 or self._size + encoded.size > self._table_size:
            return encoded.literal
        self._positions[line] = len(self._positions)
        self._size += encoded.size
        return encoded.indexing


def _encode_status(status: bytes) -> bytes:
    encoded = _STATUSES.get(status)
    return _STATUS_NAME + encode_string(status, False) if encoded is None else encoded
