"""The header section, from bytes to facts (RFC 9110 section 5, RFC 9112 section 5).

`field_lines.py` validates the bytes and finds the lines that a rule is interested in; here they are
told apart. Knows which fields are hop-by-hop, and nothing of what a message is for. The facts are
a function of the bytes alone, and peers repeat themselves, so those of sections that have come
more than once are remembered.
"""

from collections.abc import Iterable
from typing import Final

from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.field_kinds import (
    KIND_CONNECTION,
    KIND_CONTENT_LENGTH,
    KIND_HOP_BY_HOP,
    KIND_HOST,
    KIND_HTTP2_SETTINGS,
    KIND_TE,
    KIND_TRANSFER_ENCODING,
    KIND_UPGRADE,
    names_of_interest,
)
from cmux_proxy.http1.field_lines import FieldLines
from cmux_proxy.http1.grammar import CONTENT_LENGTH, HOST, NAMED_FIELD_LINE, TOKEN_ONLY
from cmux_proxy.http1.head import (
    CLOSE,
    KEEP_ALIVE,
    UPGRADE,
    Fields,
    HeadLimits,
    Span,
    SpanFinder,
    Spans,
)
from cmux_proxy.http1.hop_by_hop import RENEWED_TE, has_trailers, take_h2c_out
from cmux_proxy.http1.request_target import expectations
from cmux_proxy.http1.reserved_fields import ReservedFields

OPTIONS: Final[dict[bytes, int]] = {
    b"close": CLOSE,
    b"keep-alive": KEEP_ALIVE,
    b"upgrade": UPGRADE,
}
# Fields that say what a message is or where it goes: no peer may have them removed on the way.
MAY_NOT_NOMINATE: Final = frozenset([b"content-length", b"transfer-encoding", b"host"])

# Enough for the peers of a development machine; in all at most half a megabyte.
_REMEMBERED: Final = 256
_REMEMBERED_SIZE: Final = 2048
_SEEN: Final = 4096


class Section:
    """One header section as it was read: what it says, where, and what of it may travel on."""

    __slots__ = ("fields", "kept", "spans")

    def __init__(self, fields: Fields, spans: Spans, kept: bytes) -> None:
        self.fields = fields
        self.spans = spans
        self.kept = kept


class FieldReader(SpanFinder):
    """Reads header sections; with a family, of requests, else of responses."""

    __slots__ = ("_family", "_limits", "_lines", "_memory", "_seen")

    def __init__(self, limits: HeadLimits, family: ReservedFields) -> None:
        self._lines = FieldLines(names_of_interest(family), family.prefix)
        self._limits = limits
        self._family = family
        self._memory: dict[bytes, Section] = {}
        self._seen: set[int] = set()

    def read(self, block: bytes) -> Section | None:
        """Read a section that ends in its blank line; return None if it is malformed.

        Raises BadMessage where the lines are well-formed and what they say is not acceptable.
        """
        section = self._memory.get(block)
        if section is None:
            self._limits.check_section(block)
            section = self._read(block)
            if section is not None:
                self._remember(block, section)
        return section

    def _remember(self, block: bytes, section: Section) -> None:
        """Keep the facts of a section that comes for the second time."""
        mark = hash(block)
        if mark not in self._seen:
            if len(self._seen) >= _SEEN:
                self._seen.clear()
            self._seen.add(mark)
        elif len(block) <= _REMEMBERED_SIZE:
            if len(self._memory) >= _REMEMBERED:
                self._memory.clear()
            self._memory[block] = section

    def spans(self, section: bytes) -> Spans:
        """Return the spans of a section that was read before."""
        found = self.read(section)
        return Spans() if found is None else found.spans

    def _read(self, block: bytes) -> Section | None:
        lines = self._lines.find(block)
        if lines is None:
            return None
        fields = Fields()
        spans = Spans()
        for kind, name, value, start, end in lines:
            if kind == KIND_HOST:
                _note_host(fields, value)
                spans.host = (start, end)
            elif kind == KIND_CONTENT_LENGTH:
                _note_length(fields, value)
            elif kind:
                if kind == KIND_TRANSFER_ENCODING:
                    value = _coding(block[start:end])
                _note(fields, spans, kind, value, (start, end))
            elif name.endswith(self._family.suffix) or name in self._family.reported:
                spans.cuts += ((start, end),)
                fields.reported += ((name, value),)
        if spans.settings:
            take_h2c_out(fields, spans)
        if spans.nominated:
            self._cut_nominated(spans, block)
        kept = without(block, spans.cuts) if spans.cuts else block
        if spans.takes_trailers:
            kept = kept[:-2] + RENEWED_TE + b"\r\n"
        return Section(fields, spans, kept)

    def _cut_nominated(self, spans: Spans, block: bytes) -> None:
        """Add the fields that Connection nominates to the cuts; refuse those it may not name."""
        wanted = frozenset(spans.nominated)
        for name in wanted:
            prefix = self._family.prefix
            if name in MAY_NOT_NOMINATE or (prefix and name.startswith(prefix)):
                raise BadMessage(f"Connection may not name {name.decode('ascii')}")
        cuts = set(spans.cuts)
        for match in NAMED_FIELD_LINE.finditer(block):
            if match.group(1).lower() in wanted:
                cuts.add(match.span())
        spans.cuts = tuple(sorted(cuts))


def without(block: bytes, cuts: Iterable[tuple[int, int]]) -> bytes:
    """Return the block without the spans, which are in order."""
    pieces = []
    position = 0
    for start, end in cuts:
        pieces.append(block[position:start])
        position = end
    pieces.append(block[position:])
    return b"".join(pieces)


def _note(fields: Fields, spans: Spans, kind: int, value: bytes, span: Span) -> None:
    if kind == KIND_CONNECTION:
        spans.cuts += (span,)
        spans.handshake += (span,)
        option = OPTIONS.get(value.lower(), 0)
        if option:
            fields.connection |= option
        else:
            _note_options(fields, spans, value)
    elif kind == KIND_HOP_BY_HOP:
        spans.cuts += (span,)
    elif kind == KIND_TE:
        spans.cuts += (span,)
        spans.takes_trailers = spans.takes_trailers or has_trailers(value)
    elif kind == KIND_HTTP2_SETTINGS:
        spans.settings += (span,)
    elif kind == KIND_TRANSFER_ENCODING:
        # RFC 9110 section 5.2: several lines are one list, which is never just "chunked".
        fields.transfer_encoding = _joined(fields.transfer_encoding, value)
        spans.coding = span
    elif kind == KIND_UPGRADE:
        spans.cuts += (span,)
        spans.handshake += (span,)
        fields.upgrade = _joined(fields.upgrade, value)
    else:
        fields.expect = expectations(fields.expect, value)


def _joined(before: bytes | None, value: bytes) -> bytes:
    return value if before is None else before + b", " + value


def _note_host(fields: Fields, value: bytes) -> None:
    # RFC 9112 section 3.2: exactly one, and a valid one. Stricter: an empty value is refused.
    if fields.host is not None:
        raise BadMessage("there is more than one Host field")
    if HOST.fullmatch(value) is None:
        raise BadMessage("the Host field is not a host and an optional port")
    fields.host = value


def _note_length(fields: Fields, value: bytes) -> None:
    # RFC 9112 section 6.3 would let equal values pass as one; stricter: one line or none.
    if fields.content_length is not None:
        raise BadMessage("there is more than one Content-Length field")
    if CONTENT_LENGTH.fullmatch(value) is None:
        raise BadMessage("Content-Length is not a plain number")
    fields.content_length = int(value)


def _coding(line: bytes) -> bytes:
    """Return what a Transfer-Encoding line says, with all white space but blanks before it.

    Stricter than RFC 9110 section 5.5: with a tab behind it, llhttp does not see the coding, takes
    a response to end with its connection, and so finds two readings of one answer.
    """
    return line[len(b"transfer-encoding:") : -2].lstrip(b" ")


def _note_options(fields: Fields, spans: Spans, value: bytes) -> None:
    """Read a Connection value as a list (RFC 9110 section 7.6.1)."""
    nominated: list[bytes] = []
    for item in value.split(b","):
        name = item.strip(b" \t").lower()
        if not name:
            continue
        if TOKEN_ONLY.fullmatch(name) is None:
            raise BadMessage("Connection is not a list of tokens")
        option = OPTIONS.get(name, 0)
        fields.connection |= option
        if not option:
            nominated.append(name)
    spans.nominated += tuple(nominated)
