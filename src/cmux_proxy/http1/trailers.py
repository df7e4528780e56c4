"""The trailer section of a chunked body (RFC 9110 section 6.5, RFC 9112 section 7.1.2)."""

from typing import Final

from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.grammar import NAMED_FIELD_LINE

# Who a request comes from, and where it was sent, by RFC 7239 and by custom.
FORWARDED: Final = (
    b"forwarded",
    b"x-forwarded-for",
    b"x-forwarded-host",
    b"x-forwarded-port",
    b"x-forwarded-proto",
    b"x-forwarded-server",
    b"x-real-ip",
)

# RFC 9110 section 6.5.1: what frames, routes, authenticates, controls, or says how to read the
# content must come before it. A recipient that merged such a trailer into the header section
# would be told something the header section did not say.
_FORBIDDEN: Final = frozenset(
    b"content-length transfer-encoding trailer host connection keep-alive proxy-connection te "
    b"upgrade authorization proxy-authenticate proxy-authorization www-authenticate "
    b"authentication-info proxy-authentication-info cookie set-cookie cache-control expect "
    b"max-forwards pragma range if-match if-none-match if-modified-since if-unmodified-since "
    b"if-range age date expires location retry-after vary warning content-encoding content-type "
    b"content-range content-disposition".split()
) | frozenset(FORWARDED)


def may_forward_trailer(line: bytes, family: bytes) -> bool:
    """Return whether a trailer field line, CRLF included, may travel on.

    A field whose lower-case name begins with `family`, if that is not empty, may not either, and
    one that is spelled like a forwarded field, with `_` for `-`.
    Raises BadMessage when the line is malformed.
    """
    match = NAMED_FIELD_LINE.fullmatch(line)
    if match is None:
        raise BadMessage("a trailer field is malformed")
    name = match.group(1).lower()
    if name in _FORBIDDEN or name.replace(b"_", b"-") in FORWARDED:
        return False
    return not (family and name.startswith(family))
