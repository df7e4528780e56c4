"""May this connection carry another message? (RFC 9112 section 9.3)"""

from cmux_proxy.http1.framing import UNTIL_CLOSE
from cmux_proxy.http1.head import CLOSE, KEEP_ALIVE, RequestHead, ResponseHead


def client_wants_more(head: RequestHead) -> bool:
    """Return whether the client's connection may persist after the answer to this request."""
    return _persists(head.fields.connection, head.minor)


def upstream_allows_more(head: ResponseHead, framing: int) -> bool:
    """Return whether the upstream's connection may carry another request after this response."""
    return framing != UNTIL_CLOSE and _persists(head.fields.connection, head.minor)


def _persists(connection: int, minor: int) -> bool:
    if connection & CLOSE:
        return False
    return minor == 1 or connection & KEEP_ALIVE != 0
