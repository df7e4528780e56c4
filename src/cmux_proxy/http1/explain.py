"""Why a head was refused: reads it line by line, which is slow and only done for refused heads.

The scanners know from one failed match that a head is invalid. These functions find the reason, as
a clause for its sender, and the status (RFC 9112 sections 2.2, 3, 4 and 5).
"""

import re

from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.grammar import (
    ANY_STATUS_LINE,
    BARE_LF,
    FIELD_LINE,
    REQUEST_LINE,
    STATUS_LINE,
    TCHAR,
    TOKEN_ONLY,
)

_REQUEST_LINE = re.compile(REQUEST_LINE)
_STATUS_LINE = re.compile(STATUS_LINE)
_FIELD_LINE = re.compile(FIELD_LINE)
_FIRST_BYTE = re.compile(rb"[" + TCHAR + rb"]")
# RFC 9112 section 2.3, and the short names of the later versions.
_VERSION = re.compile(rb"HTTP/(?:[0-9]\.[0-9]|[23])")
_PREFACE = b"PRI * HTTP/2.0\r\n"
_TLS_HANDSHAKE = 0x16
_BAD_STATUS_LINE = "the status line is malformed"


def explain_request(buffer: bytes) -> BadMessage:
    """Return the reason for a request head that did not match."""
    line, fields = _parts(buffer)
    return _request_line_fault(line) or _fields_fault(fields)


def explain_response(buffer: bytes) -> BadMessage:
    """Return the reason for a response head that did not match."""
    line, fields = _parts(buffer)
    return _status_line_fault(line) or _fields_fault(fields)


def check_method(buffer: bytes, max_size: int) -> None:
    """Raise BadMessage if the method alone exceeds the limit of a request line.

    Every other line that is too long has a target that is too long (RFC 9112 section 3).
    """
    if len(buffer) > max_size:
        method = TOKEN_ONLY.match(buffer, 0, max_size + 1)
        if method is not None and method.end() > max_size:
            raise BadMessage("the method is too long")


def check_request_start(buffer: bytes, searched: int) -> None:
    """Raise BadMessage if an unfinished request head cannot become a valid one."""
    if not searched and buffer and _FIRST_BYTE.match(buffer) is None:
        if buffer[0] == _TLS_HANDSHAKE:
            raise BadMessage("this port speaks plain HTTP, and TLS was sent; use http://")
        raise BadMessage("the request does not begin with a method")
    if BARE_LF.search(buffer, max(0, searched - 1)) is not None:
        raise BadMessage("a line ends in LF without CR")
    line_end = buffer.find(b"\n") + 1
    if line_end > searched:
        fault = _request_line_fault(buffer[:line_end])
        if fault is not None:
            raise fault


def check_response_start(buffer: bytes, searched: int) -> None:
    """Raise BadMessage if an unfinished response head cannot become a valid one."""
    if not b"HTTP/1.".startswith(buffer[:7]):
        raise BadMessage("the response does not begin with HTTP/1.")
    line_end = buffer.find(b"\n") + 1
    if line_end > searched:
        line = buffer[: line_end - 1].removesuffix(b"\r")
        if ANY_STATUS_LINE.fullmatch(line) is None:
            raise _status_line_fault(line + b"\r\n") or BadMessage(_BAD_STATUS_LINE)


def _parts(buffer: bytes) -> tuple[bytes, bytes]:
    end = buffer.index(b"\r\n\r\n") + 2
    line_end = buffer.index(b"\r\n") + 2
    return buffer[:line_end], buffer[line_end:end]


def _request_line_fault(line: bytes) -> BadMessage | None:
    if _REQUEST_LINE.fullmatch(line) is not None:
        return None
    if line == _PREFACE:
        return BadMessage("HTTP/2 begins a connection, and over TLS is chosen by ALPN", 505)
    fault = _bytes_fault(line)
    if fault is not None:
        return fault
    parts = line[:-2].split(b" ")
    if len(parts) != 3:
        return BadMessage("the request line is not method, target and version")
    method, _target, version = parts
    if TOKEN_ONLY.fullmatch(method) is None:
        return BadMessage("the method is not a token")
    if _VERSION.fullmatch(version) is None:
        return BadMessage("the request line does not end in an HTTP version")
    if version not in (b"HTTP/1.0", b"HTTP/1.1"):
        return BadMessage("only HTTP/1.0 and HTTP/1.1 are supported", 505)
    return BadMessage("the request target has bytes that are not allowed")


def _status_line_fault(line: bytes) -> BadMessage | None:
    if _STATUS_LINE.fullmatch(line) is not None:
        return None
    return _bytes_fault(line) or BadMessage(_BAD_STATUS_LINE)


def _fields_fault(fields: bytes) -> BadMessage:
    for number, line in enumerate(fields.split(b"\r\n")[:-1], 1):
        if _FIELD_LINE.fullmatch(line + b"\r\n") is None:
            return BadMessage(f"header field {number} {_line_fault(line, number)}")
    return BadMessage("the head is malformed")


def _line_fault(line: bytes, number: int) -> str:
    fault = _bytes_fault(line)
    if fault is not None:
        return f"is refused: {fault.reason}"
    if line[:1] in (b" ", b"\t"):
        return "begins with white space" if number == 1 else "is folded"
    name, colon, _value = line.partition(b":")
    if not colon:
        return "has no colon"
    if name[-1:] in (b" ", b"\t"):
        return "has white space before its colon"
    return "has a name that is not a token"


def _bytes_fault(line: bytes) -> BadMessage | None:
    text = line.removesuffix(b"\r\n")
    if b"\n" in text:
        return BadMessage("a line ends in LF without CR")
    if b"\r" in text:
        return BadMessage("a CR is not followed by LF")
    if b"\x00" in text:
        return BadMessage("the head contains a NUL byte")
    if any((byte < 0x20 and byte != 0x09) or byte == 0x7F for byte in text):
        return BadMessage("the head contains a control byte")
    return None
