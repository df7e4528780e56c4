"""The trailer section of a chunked body (RFC 9110 section 6.5, RFC 9112 section 7.1.2)."""

from typing import Final

from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.grammar import FIELD_NAMES, TRAILER_SECTION

# RFC 9110 section 6.5.1: what frames, routes, authenticates, controls, or says how to read the
# content must come before it. A recipient that merged such a trailer into the header section
# would be told something the header section did not say.
_FORBIDDEN: Final = frozenset(
    b"content-length transfer-encoding trailer host connection keep-alive proxy-connection te "
    b"upgrade authorization proxy-authenticate proxy-authorization www-authenticate "
    b"authentication-info proxy-authentication-info cookie set-cookie cache-control expect "
    b"max-forwards pragma range if-match if-none-match if-modified-since if-unmodified-since "
    b"if-range age date expires location retry-after vary warning content-encoding content-type "
    b"content-range content-disposition forwarded".split()
)


def forwardable_trailers(section: bytes, family: bytes) -> bytes:
    """Return the section, blank line included, without the fields that may not be trailers.

    Fields whose lower-case name begins with `family`, if that is not empty, go too. Raises
    BadMessage when the section is malformed.
    """
    if TRAILER_SECTION.fullmatch(section) is None:
        raise BadMessage("the trailer section is malformed")
    kept = [
        match.group(0)
        for match in FIELD_NAMES.finditer(section)
        if not _is_forbidden(match.group(1).lower(), family)
    ]
    return b"".join(kept) + b"\r\n"


def _is_forbidden(name: bytes, family: bytes) -> bool:
    return name in _FORBIDDEN or (family != b"" and name.startswith(family))
