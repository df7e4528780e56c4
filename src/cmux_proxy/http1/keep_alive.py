"""Whether a connection is kept alive for another message (RFC 9112 section 9.3)."""

from cmux_proxy.http1.framing import UNTIL_CLOSE
from cmux_proxy.http1.head import CLOSE, KEEP_ALIVE, RequestHead, ResponseHead


def client_keeps_alive(head: RequestHead) -> bool:
    """Return whether the client's connection may be kept after the response to this request."""
    return _keeps_alive(head.connection, head.minor)


def upstream_keeps_alive(head: ResponseHead, framing: int) -> bool:
    """Return whether the upstream's connection may carry another request after this response.

    It may not if a response without a body (to HEAD, or a 304) has a Content-Length above zero or
    a Transfer-Encoding: some services send the body nevertheless, and late, and it would be read
    as the next response.
    """
    if framing == UNTIL_CLOSE:
        return False
    if framing == 0 and (head.content_length or head.transfer_encoding is not None):
        return False
    return _keeps_alive(head.connection, head.minor)


def _keeps_alive(connection: int, minor: int) -> bool:
    if connection & CLOSE:
        return False
    return minor == 1 or connection & KEEP_ALIVE != 0
