"""Fields that hold for one connection, and what the next hop is told in their place.

TE and Upgrade (RFC 9110 sections 7.8 and 10.1.4), and the upgrade to HTTP/2 that RFC 9113 has
deprecated. `fields.py` finds the lines, `serialize.py` puts the new ones into the head.
"""

from typing import Final

from cmux_proxy.http1.grammar import QUOTED_STRING
from cmux_proxy.http1.head import Fields, RequestHead, Span, Spans

_TE: Final = b"TE: trailers\r\n"
_CONNECTION_UPGRADE: Final = b"Connection: upgrade\r\n"
_CONNECTION_BOTH: Final = b"Connection: upgrade, TE\r\n"
# RFC 9110 section 10.1.4: who sends TE names it in Connection.
RENEWED_TE: Final = _TE + b"Connection: TE\r\n"


def has_trailers(te: bytes) -> bool:
    """Return whether a TE value has the member `trailers`.

    With a parameter or a weight it is the name of a coding (RFC 9110 section 10.1.4).
    """
    members = QUOTED_STRING.sub(b'""', te).split(b",")
    return any(member.strip(b" \t").lower() == b"trailers" for member in members)


def take_h2c_out(fields: Fields, spans: Spans) -> None:
    """Take h2c out of Upgrade, and cut HTTP2-Settings with it; nothing where there is no h2c.

    RFC 9113 section 3.1 has deprecated this upgrade. Granted, it makes a tunnel of the client's
    connection, so that requests in it would pass routing and tokens by.
    """
    if fields.upgrade is None:
        return
    protocols = [protocol.strip(b" \t") for protocol in fields.upgrade.split(b",")]
    others = [protocol for protocol in protocols if protocol.lower() != b"h2c"]
    if len(others) == len(protocols):
        return
    fields.upgrade = b", ".join(filter(None, others)) or None
    spans.handshake = ()
    spans.cuts = tuple(sorted({*spans.cuts, *spans.settings}))


def renewal(head: RequestHead, spans: Spans, upgrade: bool) -> tuple[tuple[Span, ...], bytes]:
    """Return which lines of a request's handshake stay, and the lines that are written anew."""
    renews_te = spans.takes_trailers and head.minor != 0
    if not upgrade:
        return (), RENEWED_TE if renews_te else b""
    stay = spans.handshake
    lines = b""
    if not stay:
        lines = b"Upgrade: %b\r\n" % (head.fields.upgrade or b"")
    elif not renews_te and not spans.nominated:
        return stay, b""
    else:
        # Connection names fields that are gone, or has to name TE, so it is written anew.
        stay = upgrade_lines(head.section(), spans)
    return stay, lines + (_TE + _CONNECTION_BOTH if renews_te else _CONNECTION_UPGRADE)


def upgrade_lines(section: bytes, spans: Spans) -> tuple[Span, ...]:
    """Return the lines of a handshake that are Upgrade rather than Connection."""
    return tuple(span for span in spans.handshake if section[span[0] : span[0] + 1] in (b"U", b"u"))
