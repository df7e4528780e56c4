"""How the body of a message ends (RFC 9112 section 6.3), as one integer.

A value of 0 or more is a length in bytes; CHUNKED and UNTIL_CLOSE are the two negative values. Does
not know the body's bytes (`body.py` and `chunked_body.py` read those) nor whether the connection is
kept (`keep_alive.py`).
"""

from typing import Final

from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.head import RequestHead, ResponseHead

CHUNKED: Final = -1
UNTIL_CLOSE: Final = -2


def request_framing(head: RequestHead) -> int:
    """Return the framing of a request's body; raise BadMessage if two readers could differ."""
    coding = head.transfer_encoding
    if coding is None:
        return head.content_length or 0
    _check_request_coding(head, coding)
    return CHUNKED


def response_framing(head: ResponseHead, method: bytes) -> int:
    """Return the framing of the response to a request of that method.

    `ResponseScanner` has left at most one framing field, and none in a response whose status allows
    no content. Raises BadMessage for a coding other than chunked, even if no body follows, and for
    a 101 response that announces content.
    """
    coding = head.transfer_encoding
    length = head.content_length
    if coding is not None:
        _check_coding(coding)
    status = head.status
    if status == 101 and (coding is not None or length):
        # RFC 9110 section 15.2.2: the bytes after it belong to the other protocol.
        raise BadMessage("a 101 response announces a body")
    if status < 200 or status == 204 or status == 304 or method == b"HEAD":
        return 0
    if coding is not None:
        return CHUNKED
    return UNTIL_CLOSE if length is None else length


def _check_request_coding(head: RequestHead, coding: bytes) -> None:
    # RFC 9112 section 6.1. Stricter: every message with both fields is refused.
    if head.content_length is not None:
        raise BadMessage("both Transfer-Encoding and Content-Length are given")
    if head.minor == 0:
        raise BadMessage("Transfer-Encoding is not defined for HTTP/1.0")
    _check_coding(coding)


def _check_coding(coding: bytes) -> None:
    # RFC 9112 section 6.1. Stricter: only chunked is accepted, because bytes are forwarded as they
    # came and the recipient may not know another coding.
    if coding.lower() != b"chunked":
        raise BadMessage("Transfer-Encoding is not exactly chunked")
