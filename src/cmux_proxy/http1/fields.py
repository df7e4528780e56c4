"""Reads a header section: from bytes to facts (RFC 9110 section 5, RFC 9112 section 5).

`field_lines.py` validates the bytes and finds the lines of interest; this file acts on their kinds.
Does not know what a message is for. The facts depend on the
bytes alone, and peers repeat their sections, so the facts of repeated sections are cached.
"""

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
from cmux_proxy.http1.grammar import CONTENT_LENGTH, HOST
from cmux_proxy.http1.head import Fields, Span, SpanFinder, Spans
from cmux_proxy.http1.head_limits import HeadLimits
from cmux_proxy.http1.hop_by_hop import (
    CONNECTION_OPTIONS,
    TE_TRAILERS_LINES,
    add_connection_options,
    cut_nominated,
    remove_h2c,
    remove_spans,
    te_accepts_trailers,
)
from cmux_proxy.http1.reserved_fields import ReservedFields

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
            cut_nominated(spans, block, self._reserved.prefix)
        stripped = remove_spans(block, spans.cuts) if spans.cuts else block
        if spans.accepts_trailers:
            stripped = stripped[:-2] + TE_TRAILERS_LINES + b"\r\n"
        return Section(fields, spans, stripped)


def _add_field(fields: Fields, spans: Spans, kind: int, value: bytes, line: Span) -> None:
    """Add a line of any kind that may come in several lines."""
    if kind == KIND_CONNECTION:
        spans.cuts += (line,)
        spans.connection_lines += (line,)
        option = CONNECTION_OPTIONS.get(value.lower(), 0)
        if option:
            fields.connection |= option
        else:
            add_connection_options(fields, spans, value)
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
