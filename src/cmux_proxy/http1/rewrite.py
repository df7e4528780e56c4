"""The head that leaves: what came, minus the cuts, plus what framing and persistence need.

Field lines stay byte for byte, in order (RFC 9110 section 7.6.1 says which may not travel on).
A head and the first bytes of its body leave as one piece, so `tail` is passed through here.
"""

from typing import Final

from cmux_proxy.http1.head import RequestHead, ResponseHead
from cmux_proxy.http1.target import ForwardTarget

ADD_CLOSE: Final = b"Connection: close\r\n"
ADD_KEEP_ALIVE: Final = b"Connection: keep-alive\r\n"
ADD_CHUNKED: Final = b"Transfer-Encoding: chunked\r\n"
_ADD_UPGRADE: Final = b"Connection: upgrade\r\n"
LAST_CHUNK: Final = b"0\r\n\r\n"


def plain_request(head: RequestHead, tail: bytes) -> bytes:
    """Return an HTTP/1.1 request in origin form that asks for no upgrade, ready to send."""
    return _splice(head.buffer, 0, head.cuts, head.end, b"", tail)


def other_request(
    head: RequestHead, to: ForwardTarget | None, upgrade: bool, host: bytes, tail: bytes
) -> bytes:
    """Return a request that needs more than cuts, ready to send.

    `to` replaces the target and the Host value (RFC 9112 section 3.2.2), `host` is the Host for
    an HTTP/1.0 request that has none, which HTTP/1.1 does not allow.
    """
    path = head.target if to is None else to.path
    line = head.method + b" " + path + b" HTTP/1.1\r\n"
    cuts = list(head.cuts)
    additions = b""
    if upgrade:
        if head.nominated is None:
            cuts = _without_handshake(head)
        else:
            # The Connection line names fields that are gone, so it is written anew.
            cuts = _without_handshake(head, keep_connection=False)
            additions = _ADD_UPGRADE
    if to is not None and to.authority is not None:
        host = to.authority
        if head.host is not None:
            cuts = _merge(cuts, head.host_start, head.host_end)
        line += b"Host: " + host + b"\r\n"
    elif head.host is None:
        line += b"Host: " + host + b"\r\n"
    return line + _splice(head.buffer, head.line_end, cuts, head.end, additions, tail)


def response(head: ResponseHead, additions: bytes, unwrap: bool, tail: bytes) -> bytes:
    """Return a response, ready to send; `unwrap` drops the Transfer-Encoding line.

    The version in the status line is ours (RFC 9110 section 2.5), all else the upstream's.
    """
    cuts = head.cuts
    if unwrap:
        cuts = _merge(cuts, head.coding_start, head.coding_end)
    if head.minor:
        return _splice(head.buffer, 0, cuts, head.end, additions, tail)
    return b"HTTP/1.1" + _splice(head.buffer, 8, cuts, head.end, additions, tail)


def chunk(data: bytes) -> bytes:
    """Return one chunk of the chunked coding (RFC 9112 section 7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def _splice(
    buffer: bytes, start: int, cuts: list[int], end: int, additions: bytes, tail: bytes
) -> bytes:
    """Return buffer[start:end] without the cuts, with additions before its blank line, and tail."""
    if not cuts and not additions:
        if not tail and start == 0 and end == len(buffer):
            return buffer
        return buffer[start:end] + tail
    pieces = []
    for at in range(0, len(cuts), 2):
        pieces.append(buffer[start : cuts[at]])
        start = cuts[at + 1]
    if additions:
        pieces.append(buffer[start : end - 2])
        pieces.append(additions)
        start = end - 2
    pieces.append(buffer[start:end])
    pieces.append(tail)
    return b"".join(pieces)


def _without_handshake(head: RequestHead, keep_connection: bool = True) -> list[int]:
    """Return the cuts without the lines that carry an upgrade."""
    kept = head.handshake or []
    cuts: list[int] = []
    for at in range(0, len(head.cuts), 2):
        start = head.cuts[at]
        is_upgrade = head.buffer[start : start + 1] in (b"U", b"u")
        if start not in kept or not (is_upgrade or keep_connection):
            cuts += (start, head.cuts[at + 1])
    return cuts


def _merge(cuts: list[int], start: int, end: int) -> list[int]:
    """Return the cuts with one more span, in order."""
    at = 0
    while at < len(cuts) and cuts[at] < start:
        at += 2
    return [*cuts[:at], start, end, *cuts[at:]]
