"""The trailer section of a chunked body (RFC 9110 section 6.5, RFC 9112 section 7.1.2)."""

from typing import Final

from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.grammar import NAMED_FIELD_LINE

# Fields that say who sent a request and to which address (RFC 7239, and common practice).
FORWARDED: Final = (
    b"forwarded",
    b"x-forwarded-for",
    b"x-forwarded-host",
    b"x-forwarded-port",
    b"x-forwarded-proto",
    b"x-forwarded-server",
    b"x-real-ip",
)

# RFC 9110 section 6.5.1: fields for framing, routing, authentication, request control or the format
# of the content must come before the content. A recipient could merge such a trailer into the
# header section, and it would then change what the header section says.
_FORBIDDEN: Final = frozenset(
    b"content-length transfer-encoding trailer host connection keep-alive proxy-connection te "
    b"upgrade authorization proxy-authenticate proxy-authorization www-authenticate "
    b"authentication-info proxy-authentication-info cookie set-cookie cache-control expect "
    b"max-forwards pragma range if-match if-none-match if-modified-since if-unmodified-since "
    b"if-range age date expires location retry-after vary warning content-encoding content-type "
    b"content-range content-disposition".split()
) | frozenset(FORWARDED)


def may_forward_trailer(line: bytes, reserved_prefix: bytes) -> bool:
    """Return whether a trailer field line, CRLF included, may be forwarded.

    Not forwarded are also names that begin with `reserved_prefix` (in lower case; if it is empty,
    none does), and names that differ from those in FORWARDED only by `_` in place of `-`.
    Raises BadMessage if the line is malformed.
    """
    match = NAMED_FIELD_LINE.fullmatch(line)
    if match is None:
        raise BadMessage("a trailer field is malformed")
    name = match.group(1).lower()
    if name in _FORBIDDEN or name.replace(b"_", b"-") in FORWARDED:
        return False
    return not (reserved_prefix and name.startswith(reserved_prefix))
