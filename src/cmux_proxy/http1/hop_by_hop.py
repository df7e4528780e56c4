"""Hop-by-hop fields that a request needs again on its next connection: TE, Upgrade, Connection.

RFC 9110 sections 7.6.1, 7.8 and 10.1.4; also removes the upgrade to HTTP/2 that RFC 9113 has
deprecated. `fields.py` finds and cuts the lines, `serialize.py` puts the new ones into the head.
"""

from typing import Final

from cmux_proxy.http1.grammar import QUOTED_STRING
from cmux_proxy.http1.head import Fields, RequestHead, Span, Spans

_TE: Final = b"TE: trailers\r\n"
_CONNECTION_UPGRADE: Final = b"Connection: upgrade\r\n"
_CONNECTION_BOTH: Final = b"Connection: upgrade, TE\r\n"
# RFC 9110 section 10.1.4: a sender of TE names it in Connection.
TE_TRAILERS_LINES: Final = _TE + b"Connection: TE\r\n"


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
        lines = b"Upgrade: %b\r\n" % (head.fields.upgrade or b"")
    elif not renews_te and not spans.nominated:
        return spans.connection_lines + spans.upgrade_lines, b""
    # Connection names fields that were cut, or has to name TE: it is written again.
    lines += _TE + _CONNECTION_BOTH if renews_te else _CONNECTION_UPGRADE
    return spans.upgrade_lines, lines
