"""Which fields the reader acts on, and what it does with each: their kinds.

Requests and responses have different kinds: only a request has a Host and an Expect to judge.
Neighbours: `field_lines.py` finds the lines, `fields.py` acts on their kinds, and `_fast_scan.pyx`
imports the numbers.
"""

from typing import Final

from cmux_proxy.http1.hop_by_hop import HOP_BY_HOP_FIELDS
from cmux_proxy.http1.reserved_fields import ReservedFields

KIND_RESERVED: Final = 0
KIND_HOP_BY_HOP: Final = 1
KIND_HOST: Final = 2
KIND_EXPECT: Final = 3
KIND_CONNECTION: Final = 4
KIND_CONTENT_LENGTH: Final = 5
KIND_TRANSFER_ENCODING: Final = 6
KIND_UPGRADE: Final = 7
KIND_TE: Final = 8
KIND_HTTP2_SETTINGS: Final = 9

_RESPONSE_KINDS: Final[dict[bytes, int]] = {
    **dict.fromkeys(HOP_BY_HOP_FIELDS, KIND_HOP_BY_HOP),
    b"connection": KIND_CONNECTION,
    b"content-length": KIND_CONTENT_LENGTH,
    b"transfer-encoding": KIND_TRANSFER_ENCODING,
    b"upgrade": KIND_UPGRADE,
}
_REQUEST_KINDS: Final[dict[bytes, int]] = {
    **_RESPONSE_KINDS,
    b"expect": KIND_EXPECT,
    b"host": KIND_HOST,
    b"http2-settings": KIND_HTTP2_SETTINGS,
    b"te": KIND_TE,
}


def request_field_kinds(reserved: ReservedFields) -> dict[bytes, int]:
    """Return the kinds of a request's fields by lower-case name, with the names in `reserved`."""
    kinds = dict(_REQUEST_KINDS)
    for name in reserved.cut_only:
        kinds[name] = KIND_HOP_BY_HOP
    for name in reserved.names:
        kinds[name] = KIND_RESERVED
    return kinds


def response_field_kinds() -> dict[bytes, int]:
    """Return the kinds of a response's fields by lower-case name."""
    return dict(_RESPONSE_KINDS)
