"""Which fields a rule is interested in, and of what kind each is.

The numbers are those of `_fast_scan.pyx` too. Neighbours: `field_lines.py` finds the lines,
`fields.py` does with them what their kind says.
"""

from typing import Final

from cmux_proxy.http1.reserved_fields import ReservedFields

KIND_REPORTED: Final = 0
KIND_HOP_BY_HOP: Final = 1
KIND_HOST: Final = 2
KIND_EXPECT: Final = 3
KIND_CONNECTION: Final = 4
KIND_CONTENT_LENGTH: Final = 5
KIND_TRANSFER_ENCODING: Final = 6
KIND_UPGRADE: Final = 7
KIND_TE: Final = 8
KIND_HTTP2_SETTINGS: Final = 9

_KINDS: Final[dict[bytes, int]] = {
    b"connection": KIND_CONNECTION,
    b"content-length": KIND_CONTENT_LENGTH,
    b"keep-alive": KIND_HOP_BY_HOP,
    b"proxy-authenticate": KIND_HOP_BY_HOP,
    b"proxy-authorization": KIND_HOP_BY_HOP,
    b"proxy-connection": KIND_HOP_BY_HOP,
    b"te": KIND_HOP_BY_HOP,
    b"transfer-encoding": KIND_TRANSFER_ENCODING,
    b"upgrade": KIND_UPGRADE,
}
# In a response these say nothing to a proxy, but that TE may not travel on.
_REQUEST_KINDS: Final[dict[bytes, int]] = {
    b"expect": KIND_EXPECT,
    b"host": KIND_HOST,
    b"http2-settings": KIND_HTTP2_SETTINGS,
    b"te": KIND_TE,
}


def names_of_interest(family: ReservedFields) -> dict[bytes, int]:
    """Return the kinds of the fields that a FieldReader with this family looks at, by name."""
    is_request = family.prefix != b""
    kinds = {**_KINDS, **_REQUEST_KINDS} if is_request else dict(_KINDS)
    for name in family.cut:
        kinds[name] = KIND_HOP_BY_HOP
    for name in family.reported:
        kinds[name] = KIND_REPORTED
    return kinds
