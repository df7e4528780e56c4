"""One field of a header list, judged once: its kind, its line for HTTP/1.1, or the rule it breaks.

A field in a table of HPACK is judged when it enters the table, not each time it is used. The rules
here need one field alone (RFC 9113 sections 8.2, 8.3); `request_composer.py` has those about a
whole list. Stricter than RFC 9113: the rules for names, values and targets are those that the scan
of an HTTP/1 head has.
"""

import re
from typing import Final

from mypy_extensions import mypyc_attr

from cmux_proxy.http1.grammar import CONTENT_LENGTH, UPGRADE_PROTOCOL

# The kinds. Pseudo-fields are those up to PROTOCOL.
METHOD: Final = 0
PATH: Final = 1
AUTHORITY: Final = 2
SCHEME: Final = 3
PROTOCOL: Final = 4
PLAIN: Final = 5
LENGTH: Final = 6
COOKIE: Final = 7
HOST: Final = 8
WEBSOCKET_KEY: Final = 9
# The media type of gRPC, in any of its formats.
GRPC: Final = 10
# The field breaks a rule on its own.
MALFORMED: Final = 11

# What a field takes in a table besides its name and value (RFC 7541 section 4.1).
TABLE_OVERHEAD: Final = 32
# What a line of HTTP/1.1 has besides them.
LINE_OVERHEAD: Final = 4

_SPECIAL: Final = 12
_KINDS: Final[dict[bytes, int]] = {
    b":method": METHOD,
    b":path": PATH,
    b":authority": AUTHORITY,
    b":scheme": SCHEME,
    b":protocol": PROTOCOL,
    b"content-length": LENGTH,
    b"content-type": GRPC,
    b"cookie": COOKIE,
    b"host": HOST,
    b"sec-websocket-key": WEBSOCKET_KEY,
    b"te": _SPECIAL,
    b"connection": MALFORMED,
    b"keep-alive": MALFORMED,
    b"proxy-connection": MALFORMED,
    b"transfer-encoding": MALFORMED,
    b"upgrade": MALFORMED,
}

_COLON: Final = 0x3A
_SPACE: Final = 0x20
_TAB: Final = 0x09
_SLASH: Final = 0x2F

# RFC 9113 section 8.2.1: a token without upper-case letters.
_NAME_BYTES: Final = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
_METHOD_BYTES: Final = _NAME_BYTES + b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_VALUE_BYTES: Final = bytes([0x09, *range(0x20, 0x7F), *range(0x80, 0x100)])
_TARGET_BYTES: Final = bytes([0x21, 0x22, *range(0x24, 0x7F)])
# gRPC-Web has another type, and is made for services that speak HTTP/1.
_GRPC_TYPE: Final = re.compile(rb"application/grpc([+;]|$)")
_UPPER_CASE: Final = re.compile(rb"[A-Z]")


@mypyc_attr(acyclic=True)
class HeaderField:
    """A name and a value; not changed after it has been made.

    `size` is what it takes in a table. `kind` is one of the kinds above, and `rule` is empty unless
    the kind is MALFORMED. `line` is empty for a pseudo-field and for a malformed one.
    """

    __slots__ = ("kind", "line", "name", "rule", "size", "value")

    def __init__(self, name: bytes, value: bytes) -> None:
        self.name = name
        self.value = value
        self.size = len(name) + len(value) + TABLE_OVERHEAD
        kind = _KINDS.get(name, -1)
        rule = ""
        if 0 <= kind <= PROTOCOL:
            self.line = b""
            rule = _pseudo_fault(kind, value)
        else:
            self.line = name + b": " + value + b"\r\n"
            if kind < 0:
                rule = _name_fault(name)
                kind = PLAIN
            if len(rule) == 0:
                rule = _value_fault(value)
            if len(rule) == 0 and kind != PLAIN:
                rule = _special_fault(kind, value)
                if kind == _SPECIAL or (kind == GRPC and _GRPC_TYPE.match(value) is None):
                    kind = PLAIN
        if len(rule) > 0:
            kind = MALFORMED
            self.line = b""
        self.rule = rule
        self.kind = kind


def _pseudo_fault(kind: int, value: bytes) -> str:
    """Return the rule that a pseudo-field breaks, or nothing (RFC 9113 section 8.3.1)."""
    if kind == PATH:
        return _path_fault(value)
    if kind == METHOD:
        is_token = len(value) > 0 and len(value.translate(None, _METHOD_BYTES)) == 0
        return "" if is_token else "the method is not a token"
    if kind == AUTHORITY:
        is_clean = len(value.translate(None, _TARGET_BYTES)) == 0
        return "" if is_clean else "the authority has bytes that are not allowed"
    if kind == SCHEME:
        is_known = value in (b"http", b"https")
        return "" if is_known else "the scheme is neither http nor https"
    is_protocol = UPGRADE_PROTOCOL.fullmatch(value) is not None
    return "" if is_protocol else "the protocol is not a token"


def _path_fault(value: bytes) -> str:
    # Empty only in an HTTP request to which no path applies, and http always has one.
    if len(value) == 0:
        return "the path is empty"
    if value[0] != _SLASH and value != b"*":
        return "the path does not begin with a slash"
    if len(value.translate(None, _TARGET_BYTES)) > 0:
        return "the path has bytes that are not allowed"
    return ""


def _name_fault(name: bytes) -> str:
    """Return the rule that an ordinary name breaks, or nothing (RFC 9113 section 8.2.1)."""
    if len(name) == 0:
        return "a field name is empty"
    if len(name.translate(None, _NAME_BYTES)) == 0:
        return ""
    if name[0] == _COLON:
        return "a pseudo-field is not defined for requests"
    if _UPPER_CASE.search(name) is not None:
        return "a field name has upper-case letters"
    return "a field name is not a token"


def _value_fault(value: bytes) -> str:
    """Return the rule that a value breaks, or nothing (RFC 9113 section 8.2.1)."""
    if len(value) == 0:
        return ""
    if _is_blank(value[0]) or _is_blank(value[-1]):
        return "a field value has white space at an end"
    if len(value.translate(None, _VALUE_BYTES)) > 0:
        return "a field value has bytes that are not allowed"
    return ""


def _is_blank(byte: int) -> bool:
    return byte in (_SPACE, _TAB)


def _special_fault(kind: int, value: bytes) -> str:
    """Return the rule that a field of some kind breaks, or nothing (RFC 9113 section 8.2.2)."""
    if kind == MALFORMED:
        return "a field is for connections of HTTP/1 only"
    if kind == _SPECIAL and value.lower() != b"trailers":
        return "TE has a value other than trailers"
    if kind == LENGTH and CONTENT_LENGTH.fullmatch(value) is None:
        return "Content-Length is not a plain number"
    return ""
