"""Hop-by-hop fields: which ones are cut, and which ones a request needs again on the next hop.

RFC 9110 sections 7.6.1, 7.8 and 10.1.4; also removes the upgrade to HTTP/2 that RFC 9113 has
deprecated. `fields.py` finds the lines, `serialize.py` puts the new ones into the head.
"""

from collections.abc import Iterable
from typing import Final

from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.grammar import NAMED_FIELD_LINE, QUOTED_STRING, TOKEN_ONLY
from cmux_proxy.http1.head import (
    CLOSE,
    KEEP_ALIVE,
    UPGRADE,
    Fields,
    RequestHead,
    Span,
    Spans,
)

# RFC 9110 section 7.6.1, and names without a standard. Connection, Upgrade and Transfer-Encoding
# are hop-by-hop too; the reader acts on their values.
HOP_BY_HOP_FIELDS: Final = (
    b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te",
)  # fmt: skip

CONNECTION_OPTIONS: Final[dict[bytes, int]] = {
    b"close": CLOSE,
    b"keep-alive": KEEP_ALIVE,
    b"upgrade": UPGRADE,
}
# Connection may not nominate these: without them, the next recipient would read another message.
PROTECTED_FIELDS: Final = frozenset([b"content-length", b"transfer-encoding", b"host"])

_TE: Final = b"TE: trailers\r\n"
_CONNECTION_UPGRADE: Final = b"Connection: upgrade\r\n"
_CONNECTION_BOTH: Final = b"Connection: upgrade, TE\r\n"
# RFC 9110 section 10.1.4: a sender of TE names it in Connection.
TE_TRAILERS_LINES: Final = _TE + b"Connection: TE\r\n"


def add_connection_options(fields: Fields, spans: Spans, value: bytes) -> None:
    """Read a Connection value as a list (RFC 9110 section 7.6.1); raise BadMessage for others."""
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


def cut_nominated(spans: Spans, block: bytes, reserved_prefix: bytes) -> None:
    """Add the fields that Connection nominates to the cuts (RFC 9110 section 7.6.1).

    Raises BadMessage if Connection nominates a protected or a reserved field.
    """
    nominated = frozenset(spans.nominated)
    for name in nominated:
        if name in PROTECTED_FIELDS or (reserved_prefix and name.startswith(reserved_prefix)):
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


def te_accepts_trailers(value: bytes) -> bool:
    """Return whether a TE value has the member `trailers`.

    With a parameter or a weight it is the name of a coding (RFC 9110 section 10.1.4).
    """
    members = QUOTED_STRING.sub(b'""', value).split(b",")
    return any(member.strip(b" \t").lower() == b"trailers" for member in members)


def remove_h2c(fields: Fields, spans: Spans) -> None:
    """Remove h2c from Upgrade, and cut HTTP2-Settings with it; without h2c, change nothing.

    RFC 9113 section 3.1 has deprecated this upgrade. If it were granted, the connection would
    become a tunnel, and the requests in it would bypass routing and tokens.
    """
    if fields.upgrade is None:
        return
    protocols = [protocol.strip(b" \t") for protocol in fields.upgrade.split(b",")]
    others = [protocol for protocol in protocols if protocol.lower() != b"h2c"]
    if len(others) == len(protocols):
        return
    fields.upgrade = b", ".join(filter(None, others)) or None
    spans.connection_lines = ()
    spans.upgrade_lines = ()
    spans.cuts = tuple(sorted({*spans.cuts, *spans.http2_settings_lines}))


def renew_hop_by_hop(
    head: RequestHead, spans: Spans, upgrade: bool
) -> tuple[tuple[Span, ...], bytes]:
    """Return which cut lines of a request are kept after all, and the lines to add.

    `upgrade` says whether the request asks for one: its Upgrade and Connection are then forwarded.
    """
    renews_te = spans.accepts_trailers and head.minor != 0
    if not upgrade:
        return (), TE_TRAILERS_LINES if renews_te else b""
    lines = b""
    if not spans.upgrade_lines:
        lines = b"Upgrade: %b\r\n" % (head.upgrade or b"")
    elif not renews_te and not spans.nominated:
        return spans.connection_lines + spans.upgrade_lines, b""
    # Connection names fields that were cut, or has to name TE: it is written again.
    lines += _TE + _CONNECTION_BOTH if renews_te else _CONNECTION_UPGRADE
    return spans.upgrade_lines, lines
