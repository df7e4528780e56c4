"""How a response is sent to a client of either HTTP version: chunked, by length or until close."""

from typing import Final

from cmux_proxy.http1.framing import UNTIL_CLOSE
from cmux_proxy.http1.serialize import ADD_CHUNKED, ADD_CLOSE, ADD_KEEP_ALIVE

KEEP: Final = 1  # keep the client's connection for another request
WRAP: Final = 2  # put the body into chunks
UNWRAP: Final = 4  # take the body out of its chunks, and remove Transfer-Encoding


def choose_coding(minor: int, framing: int, is_coded: bool, may_persist: bool) -> int:
    """Return the bits above for a response with that framing to a client of HTTP/1.`minor`.

    `is_coded` says whether it has a Transfer-Encoding, also where no body follows;
    `may_persist` says whether everything except the framing allows to keep the client's connection.

    A body that ends with the upstream's connection is chunked for HTTP/1.1, so that the client
    sees its end and its connection is kept. HTTP/1.0 has no chunks (RFC 9112 section 7); its body
    ends with the connection.
    """
    if minor:
        wrap = WRAP if framing == UNTIL_CLOSE else 0
        return wrap | KEEP if may_persist else wrap
    unwrap = UNWRAP if is_coded else 0
    return unwrap | KEEP if may_persist and framing >= 0 else unwrap


def coding_field_lines(minor: int, coding: int) -> bytes:
    """Return the field lines that the response needs in addition, for the bits of its coding."""
    lines = ADD_CHUNKED if coding & WRAP else b""
    if not coding & KEEP:
        lines += ADD_CLOSE
    elif not minor:
        lines += ADD_KEEP_ALIVE
    return lines
