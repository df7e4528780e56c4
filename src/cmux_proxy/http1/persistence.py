"""May this connection carry another message? (RFC 9112 section 9.3)"""

from cmux_proxy.http1.framing import UNTIL_CLOSE
from cmux_proxy.http1.head import CLOSE, KEEP_ALIVE, Head, RequestHead, ResponseHead


def client_wants_more(head: RequestHead) -> bool:
    """Return whether the client's connection may persist after the answer to this request."""
    return _persists(head)


def upstream_allows_more(head: ResponseHead, framing: int) -> bool:
    """Return whether the upstream's connection may carry another request after this response."""
    return framing != UNTIL_CLOSE and _persists(head)


def _persists(head: Head) -> bool:
    if head.connection & CLOSE:
        return False
    return head.minor == 1 or head.connection & KEEP_ALIVE != 0
