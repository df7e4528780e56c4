"""Normalizes a response head that the strict rules refuse and the RFCs allow a recipient to repair.

Common services send such heads. Requests are never repaired. `scan.py` calls this if the strict
rules find no head, or a head whose framing does not fit its status or version, and then scans the
result by the strict rules. A defect that this file does not repair is therefore still refused.
"""

import re
from typing import Final

from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.grammar import ANY_STATUS_LINE, CONTENT_LENGTH, FIELD, TOKEN_ONLY
from cmux_proxy.http1.hop_by_hop import PROTECTED_FIELDS

_FIELD: Final = re.compile(FIELD)
_BLANK_LINE: Final = re.compile(rb"\n\r?\n")

_CONNECTION: Final = b"connection"
_LENGTH: Final = b"content-length"
_CODING: Final = b"transfer-encoding"
_MAY_NOT_FOLD: Final = frozenset([_CONNECTION, _LENGTH, _CODING, b"upgrade"])

# A field's lower-case name and its line, without the line's end.
_Field = tuple[bytes, bytes]


def find_response_end(buffer: bytes, searched: int) -> int:
    """Return where the first blank line ends, or 0; `searched` bytes were searched before.

    A line may end in LF alone (RFC 9112 section 2.2).
    """
    match = _BLANK_LINE.search(buffer, max(0, searched - 2))
    return 0 if match is None else match.end()


def normalize(head: bytes) -> bytes:
    """Return a response head with CRLF line ends, no folds and at most one framing.

    `head` ends in its blank line. `Connection: close` is added, because such a service may disagree
    about where its response ends; not to a 101, after which no response follows. Raises BadMessage
    if no RFC says which of two readings is right. A malformed line stays malformed.
    """
    lines = [line.removesuffix(b"\r") for line in head.split(b"\n")[:-2]]
    lines[1:] = _unfold(lines[1:])
    match = ANY_STATUS_LINE.fullmatch(lines[0])
    if match is None or not all(map(_FIELD.fullmatch, lines[1:])):
        return _joined(lines)
    fields = [(_name(line), line) for line in lines[1:]]
    minor, code, reason = match.groups()
    status = int(code)
    if status != 101:
        fields = _with_one_framing(_with_clean_connection(fields), status)
        fields.append((_CONNECTION, b"Connection: close"))
    # RFC 9110 section 2.5: a later minor version is read as the latest known one. Chunks from an
    # HTTP/1.0 service are read as chunks (RFC 9112 section 6.1: then its connection is closed).
    is_coded = any(name == _CODING for name, _line in fields)
    version = b"HTTP/1.0 " if minor == b"0" and not is_coded else b"HTTP/1.1 "
    return _joined([version + code + b" " + (reason or b""), *[line for _name, line in fields]])


def _joined(lines: list[bytes]) -> bytes:
    return b"\r\n".join([*lines, b"", b""])


def _name(line: bytes) -> bytes:
    return line.partition(b":")[0].lower()


def _unfold(lines: list[bytes]) -> list[bytes]:
    """Return the field lines with each fold replaced by a blank (RFC 9112 section 5.2)."""
    unfolded: list[bytes] = []
    parts: list[bytes] = []
    for line in lines:
        if line[:1] not in (b" ", b"\t"):
            if parts:
                unfolded.append(b" ".join(parts))
            parts = [line]
            continue
        if not parts:
            raise BadMessage("header field 1 begins with white space")
        if len(parts) == 1:
            if _name(parts[0]) in _MAY_NOT_FOLD:
                raise BadMessage("a field that frames the message is folded")
            parts[0] = parts[0].rstrip(b" \t")
        parts.append(line.strip(b" \t"))
    if parts:
        unfolded.append(b" ".join(parts))
    return unfolded


def _with_clean_connection(fields: list[_Field]) -> list[_Field]:
    """Remove from Connection the members that are no tokens or name a protected field."""
    clean: list[_Field] = []
    for name, line in fields:
        if name == _CONNECTION:
            members = [item.strip(b" \t") for item in line[len(name) + 1 :].split(b",")]
            members = [item for item in members if _is_valid_option(item)]
            line = b"Connection: " + b", ".join(members)
        clean.append((name, line))
    return clean


def _is_valid_option(item: bytes) -> bool:
    return TOKEN_ONLY.fullmatch(item) is not None and item.lower() not in PROTECTED_FIELDS


def _with_one_framing(fields: list[_Field], status: int) -> list[_Field]:
    """Return the fields with one Content-Length, or one Transfer-Encoding, at most.

    A response without content loses both (RFC 9110 section 8.6, RFC 9112 section 6.1), except a
    304, whose fields describe the content it leaves out. If both are there, Transfer-Encoding
    overrides Content-Length (RFC 9112 section 6.3).
    """
    names = [name for name, _line in fields]
    if status < 200 or status == 204:
        return [field for field in fields if field[0] not in (_LENGTH, _CODING)]
    if names.count(_LENGTH) == 0:
        return fields
    length = _one_length([line for name, line in fields if name == _LENGTH])
    others = [field for field in fields if field[0] != _LENGTH]
    if _CODING in names:
        return others
    others.insert(names.index(_LENGTH), (_LENGTH, b"Content-Length: " + length))
    return others


def _one_length(lines: list[bytes]) -> bytes:
    """Return the value that all members of all lines have (RFC 9110 section 8.6)."""
    values = [item.strip(b" \t") for line in lines for item in line[len(_LENGTH) + 1 :].split(b",")]
    for value in values:
        if CONTENT_LENGTH.fullmatch(value) is None:
            raise BadMessage("Content-Length is not a plain number")
    lengths = {int(value) for value in values}
    if len(lengths) > 1:
        raise BadMessage("Content-Length is given with different values")
    return values[0]
