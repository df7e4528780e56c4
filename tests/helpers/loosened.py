"""Responses that do not follow the RFCs strictly, as some services send them."""

import re
from collections.abc import Callable

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from tests.helpers.grammars import responses

_FRAMING = re.compile(rb"(?i)(content-length|transfer-encoding|connection|upgrade):")
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]+)((?:;[^\r\n]*)?)\r\n")

Change = Callable[[DrawFn, list[bytes]], list[bytes]]


def _fold(draw: DrawFn, lines: list[bytes]) -> list[bytes]:
    """Fold values at their spaces, except those of framing and upgrade fields."""
    end = draw(st.sampled_from([b"\r\n", b"\n"]))
    blanks = draw(st.sampled_from([b" ", b"\t", b"   "]))
    return lines[:1] + [
        line if _FRAMING.match(line) else re.sub(rb"(?<=[!-~]) (?=[!-~])", end + blanks, line)
        for line in lines[1:]
    ]


def _repeat_length(draw: DrawFn, lines: list[bytes]) -> list[bytes]:
    lengths = [line for line in lines[1:] if line.lower().startswith(b"content-length:")]
    if not lengths:
        return lines
    value = lengths[0].partition(b":")[2]
    repeated = draw(
        st.sampled_from([b"Content-Length:" + value, b"content-length: 0" + value.strip()])
    )
    return [*lines, repeated + draw(st.sampled_from([b"", b"," + value]))]


def _add_length(draw: DrawFn, lines: list[bytes]) -> list[bytes]:
    names = [line.partition(b":")[0].lower() for line in lines[1:]]
    if b"transfer-encoding" not in names or b"content-length" in names:
        return lines
    at = draw(st.integers(1, len(lines)))
    return [*lines[:at], b"Content-Length: %d" % draw(st.integers(0, 9)), *lines[at:]]


def _change_version(draw: DrawFn, lines: list[bytes]) -> list[bytes]:
    is_coded = any(line.lower().startswith(b"transfer-encoding:") for line in lines[1:])
    minor = draw(st.sampled_from([b"0", b"2", b"9"] if is_coded else [b"2", b"9"]))
    return [b"HTTP/1." + minor + lines[0][8:], *lines[1:]]


def _spoil_connection(draw: DrawFn, lines: list[bytes]) -> list[bytes]:
    value = draw(st.sampled_from([b"a b", b"keep-alive; timeout=5", b"Content-Length, \x80", b"@"]))
    return [*lines, b"Connection: " + value]


_CHANGES: tuple[Change, ...] = (
    _fold,
    _repeat_length,
    _add_length,
    _change_version,
    _spoil_connection,
)


def _loosened_body(draw: DrawFn, body: bytes) -> bytes:
    """Put blanks and zeros into the size lines of a chunked body."""
    loose = b""
    position = 0
    while (match := _SIZE_LINE.match(body, position)) is not None:
        digits, extension = match.groups()
        loose += draw(st.sampled_from([b"", b"0", b"0" * 20])) + digits
        loose += draw(st.sampled_from([b"", b" ", b" \t "])) + extension + b"\r\n"
        size = int(digits, 16)
        position = match.end() + size + (2 if size else 0)
        loose += body[match.end() : position]
        if not size:
            break
    return loose + body[position:]


@st.composite
def loosened(draw: DrawFn) -> tuple[bytes, bytes]:
    """Return a valid response, and the same response in a looser form."""
    clean = draw(responses())
    head, _, body = clean.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    for change in draw(st.lists(st.sampled_from(_CHANGES), max_size=4)):
        lines = change(draw, lines)
    ends = draw(st.lists(st.sampled_from([b"\r\n", b"\n"]), min_size=len(lines) + 1, max_size=99))
    loose = b"".join(line + end for line, end in zip([*lines, b""], ends, strict=False))
    is_coded = any(line.lower().startswith(b"transfer-encoding:") for line in lines[1:])
    return clean, loose + (_loosened_body(draw, body) if is_coded else body)
