"""How a response reaches a client of either version: framing and persistence of what leaves."""

from typing import Final

from cmux_proxy.http1.framing import UNTIL_CLOSE
from cmux_proxy.http1.head import RequestHead
from cmux_proxy.http1.serialize import ADD_CHUNKED, ADD_CLOSE, ADD_KEEP_ALIVE

KEEP: Final = 1  # the client's connection may carry another exchange
WRAP: Final = 2  # the body is put into chunks on the way
UNWRAP: Final = 4  # the body is taken out of its chunks on the way, and the field goes


def delivery(request: RequestHead, framing: int, is_coded: bool, may_persist: bool) -> int:
    """Return the bits above for a response with that framing.

    `is_coded` says whether it has a Transfer-Encoding, also where no body follows;
    `may_persist` whether everything but framing allows the client's connection to go on.

    A body that ends with the upstream's connection is chunked for HTTP/1.1, so that the client
    can tell its end and keep its own connection; HTTP/1.0 knows no chunks (RFC 9112 section 7)
    and gets its end by close.
    """
    if request.minor:
        wrap = WRAP if framing == UNTIL_CLOSE else 0
        return wrap | KEEP if may_persist else wrap
    unwrap = UNWRAP if is_coded else 0
    return unwrap | KEEP if may_persist and framing >= 0 else unwrap


def additions(request: RequestHead, how: int) -> bytes:
    """Return the field lines that the response needs besides its own."""
    lines = ADD_CHUNKED if how & WRAP else b""
    if not how & KEEP:
        lines += ADD_CLOSE
    elif not request.minor:
        lines += ADD_KEEP_ALIVE
    return lines
