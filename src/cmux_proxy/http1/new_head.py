"""Makes heads of the facts that the fast scan has found.

The fast scan is not compiled together with the heads. From there, a call of a function costs half
of what the call of a constructor costs, and a tuple of facts would cost more than either.
"""

from cmux_proxy.http1.head import RequestHead, ResponseHead, SpanFinder


def new_request_head(
    finder: SpanFinder,
    buffer: bytes,
    rest_size: int,
    method: bytes,
    minor: int,
    stripped: bytes,
    connection: int,
    content_length: int | None,
    transfer_encoding: bytes | None,
    upgrade: bytes | None,
    host: bytes | None,
    expect: bytes | None,
    reserved: tuple[tuple[bytes, bytes], ...],
) -> RequestHead:
    """Return the head at the start of `buffer`; `rest_size` bytes are behind it."""
    return RequestHead(
        finder, buffer, len(buffer) - rest_size, method, minor, stripped, connection,
        content_length, transfer_encoding, upgrade, host, expect, reserved,
    )  # fmt: skip


def new_response_head(
    finder: SpanFinder,
    buffer: bytes,
    rest_size: int,
    status: int,
    minor: int,
    spliced: bytes,
    connection: int,
    content_length: int | None,
    transfer_encoding: bytes | None,
    upgrade: bytes | None,
) -> ResponseHead:
    """Do the same for a response."""
    return ResponseHead(
        finder, buffer, len(buffer) - rest_size, status, minor, spliced, connection,
        content_length, transfer_encoding, upgrade,
    )  # fmt: skip
