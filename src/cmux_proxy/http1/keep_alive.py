"""May this connection carry another message? (RFC 9112 section 9.3)"""

from cmux_proxy.http1.framing import UNTIL_CLOSE
from cmux_proxy.http1.head import CLOSE, KEEP_ALIVE, RequestHead, ResponseHead


def client_wants_more(head: RequestHead) -> bool:
    """Return whether the client's connection may persist after the answer to this request."""
    return _persists(head.fields.connection, head.minor)


def upstream_allows_more(head: ResponseHead, framing: int) -> bool:
    """Return whether the upstream's connection may carry another request after this response.

    Not where a response without a body, to HEAD or with 304, tells of one: a service that sends it
    all the same, and late, would have it taken for the next response.
    """
    if framing == UNTIL_CLOSE:
        return False
    fields = head.fields
    if framing == 0 and (fields.content_length or fields.transfer_encoding is not None):
        return False
    return _persists(fields.connection, head.minor)


def _persists(connection: int, minor: int) -> bool:
    if connection & CLOSE:
        return False
    return minor == 1 or connection & KEEP_ALIVE != 0
