"""Reads a header section: from bytes to facts (RFC 9110 section 5, RFC 9112 section 5).

`field_lines.py` validates the bytes and finds the lines of interest; this file acts on their kinds.
Knows which fields are hop-by-hop. Does not know what a message is for. The facts depend on the
bytes alone, and peers repeat their sections, so the facts of repeated sections are cached.
"""

from collections.abc import Iterable
from typing import Final

from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.expectation import add_expectations
from cmux_proxy.http1.field_kinds import (
    KIND_CONNECTION,
    KIND_CONTENT_LENGTH,
    KIND_HOP_BY_HOP,
    KIND_HOST,
    KIND_HTTP2_SETTINGS,
    KIND_TE,
    KIND_TRANSFER_ENCODING,
    KIND_UPGRADE,
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
from cmux_proxy.http1.hop_by_hop import TE_TRAILERS_LINES, remove_h2c, te_accepts_trailers
from cmux_proxy.http1.reserved_fields import ReservedFields

CONNECTION_OPTIONS: Final[dict[bytes, int]] = {
    b"close": CLOSE,
    b"keep-alive": KEEP_ALIVE,
    b"upgrade": UPGRADE,
}
# Connection may not nominate these: without them, the next recipient would read another message.
PROTECTED_FIELDS: Final = frozenset([b"content-length", b"transfer-encoding", b"host"])

# Enough for the peers of a development machine, and at most half a megabyte in total.
MAX_CACHED_SECTIONS: Final = 256
MAX_CACHED_SECTION: Final = 2048
MAX_SEEN: Final = 4096


class Section:
    """One header section after reading: its facts, its spans, and its bytes without the cuts."""

    __slots__ = ("fields", "spans", "stripped")

    def __init__(self, fields: Fields, spans: Spans, stripped: bytes) -> None:
        self.fields = fields
        self.spans = spans
        self.stripped = stripped


class FieldReader(SpanFinder):
    """Reads header sections; `kinds` are those of requests or those of responses.

    `cache` has at most MAX_CACHED_SECTIONS sections of at most MAX_CACHED_SECTION bytes each, and
    `seen` the hashes of at most MAX_SEEN sections.
    """

    __slots__ = ("_limits", "_lines", "_reserved", "cache", "seen")

    def __init__(
        self, limits: HeadLimits, kinds: dict[bytes, int], reserved: ReservedFields
    ) -> None:
        self._lines = FieldLines(kinds, reserved.prefix)
        self._limits = limits
        self._reserved = reserved
        self.cache: dict[bytes, Section] = {}
        self.seen: set[int] = set()

    def read(self, block: bytes) -> Section | None:
        """Read a section that ends in its blank line; return None if it is malformed.

        Raises BadMessage if the lines are well-formed and what they say is not acceptable.
        """
        section = self.cache.get(block)
        if section is None:
            self._limits.check_section(block)
            section = self._read(block)
            if section is not None:
                self._remember(block, section)
        return section

    def _remember(self, block: bytes, section: Section) -> None:
        """Cache the facts of a section that comes for the second time."""
        digest = hash(block)
        if digest not in self.seen:
            if len(self.seen) >= MAX_SEEN:
                self.seen.clear()
            self.seen.add(digest)
        elif len(block) <= MAX_CACHED_SECTION:
            if len(self.cache) >= MAX_CACHED_SECTIONS:
                self.cache.clear()
            self.cache[block] = section

    def spans(self, section: bytes) -> Spans:
        """Return the spans of a section that was read before."""
        known = self.read(section)
        return Spans() if known is None else known.spans

    def _read(self, block: bytes) -> Section | None:
        lines = self._lines.find(block)
        if lines is None:
            return None
        fields = Fields()
        spans = Spans()
        for kind, name, value, start, end in lines:
            if kind == KIND_HOST:
                _set_host(fields, value)
                spans.host_line = (start, end)
            elif kind == KIND_CONTENT_LENGTH:
                _set_content_length(fields, value)
            elif kind:
                if kind == KIND_TRANSFER_ENCODING:
                    value = _coding(block[start:end])
                _add_field(fields, spans, kind, value, (start, end))
            elif name.endswith(self._reserved.suffix) or name in self._reserved.names:
                spans.cuts += ((start, end),)
                fields.reserved += ((name, value),)
        if spans.http2_settings_lines:
            remove_h2c(fields, spans)
        if spans.nominated:
            self._cut_nominated(spans, block)
        stripped = remove_spans(block, spans.cuts) if spans.cuts else block
        if spans.accepts_trailers:
            stripped = stripped[:-2] + TE_TRAILERS_LINES + b"\r\n"
        return Section(fields, spans, stripped)

    def _cut_nominated(self, spans: Spans, block: bytes) -> None:
        """Add the fields that Connection nominates to the cuts.

        Raises BadMessage if Connection nominates a protected or a reserved field.
        """
        nominated = frozenset(spans.nominated)
        for name in nominated:
            prefix = self._reserved.prefix
            if name in PROTECTED_FIELDS or (prefix and name.startswith(prefix)):
                raise BadMessage(f"Connection may not name {name.decode('ascii')}")
        cuts = set(spans.cuts)
        for match in NAMED_FIELD_LINE.finditer(block):
            if match.group(1).lower() in nominated:
                cuts.add(match.span())
        spans.cuts = tuple(sorted(cuts))


def remove_spans(block: bytes, spans: Iterable[Span]) -> bytes:
    """Return the block without the spans, which are in order."""
    kept = []
    position = 0
    for start, end in spans:
        kept.append(block[position:start])
        position = end
    kept.append(block[position:])
    return b"".join(kept)


def _add_field(fields: Fields, spans: Spans, kind: int, value: bytes, line: Span) -> None:
    """Add a line of any kind that may come in several lines."""
    if kind == KIND_CONNECTION:
        spans.cuts += (line,)
        spans.connection_lines += (line,)
        option = CONNECTION_OPTIONS.get(value.lower(), 0)
        if option:
            fields.connection |= option
        else:
            _add_connection_options(fields, spans, value)
    elif kind == KIND_HOP_BY_HOP:
        spans.cuts += (line,)
    elif kind == KIND_TE:
        spans.cuts += (line,)
        spans.accepts_trailers = spans.accepts_trailers or te_accepts_trailers(value)
    elif kind == KIND_HTTP2_SETTINGS:
        spans.http2_settings_lines += (line,)
    elif kind == KIND_TRANSFER_ENCODING:
        # RFC 9110 section 5.2: several lines are one list, which is never just "chunked".
        fields.transfer_encoding = _joined(fields.transfer_encoding, value)
        spans.transfer_encoding_line = line
    elif kind == KIND_UPGRADE:
        spans.cuts += (line,)
        spans.upgrade_lines += (line,)
        fields.upgrade = _joined(fields.upgrade, value)
    else:
        fields.expect = add_expectations(fields.expect, value)


def _joined(values: bytes | None, value: bytes) -> bytes:
    return value if values is None else values + b", " + value


def _set_host(fields: Fields, value: bytes) -> None:
    # RFC 9112 section 3.2: exactly one, and a valid one. Stricter: an empty value is refused.
    if fields.host is not None:
        raise BadMessage("there is more than one Host field")
    if HOST.fullmatch(value) is None:
        raise BadMessage("the Host field is not a host and an optional port")
    fields.host = value


def _set_content_length(fields: Fields, value: bytes) -> None:
    # RFC 9112 section 6.3 allows equal values in several lines. Stricter: one line or none.
    if fields.content_length is not None:
        raise BadMessage("there is more than one Content-Length field")
    if CONTENT_LENGTH.fullmatch(value) is None:
        raise BadMessage("Content-Length is not a plain number")
    fields.content_length = int(value)


def _coding(line: bytes) -> bytes:
    """Return the value of a Transfer-Encoding line with all its white space but leading spaces.

    Stricter than RFC 9110 section 5.5: with a tab after it, llhttp does not see the coding, and
    reads a response until its connection ends; that would be two readings of one response.
    """
    return line[len(b"transfer-encoding:") : -2].lstrip(b" ")


def _add_connection_options(fields: Fields, spans: Spans, value: bytes) -> None:
    """Read a Connection value as a list (RFC 9110 section 7.6.1)."""
    nominated: list[bytes] = []
    for item in value.split(b","):
        name = item.strip(b" \t").lower()
        if not name:
            continue
        if TOKEN_ONLY.fullmatch(name) is None:
            raise BadMessage("Connection is not a list of tokens")
        option = CONNECTION_OPTIONS.get(name, 0)
        fields.connection |= option
        if not option:
            nominated.append(name)
    spans.nominated += tuple(nominated)
