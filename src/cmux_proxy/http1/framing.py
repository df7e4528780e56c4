"""How the body of a message ends (RFC 9112 section 6.3), as one integer.

n >= 0 is a length in bytes; CHUNKED and UNTIL_CLOSE are the two negative values. Knows nothing of
the body's bytes (`body.py` reads those) nor of the connection's future (`persistence.py`).
"""

from typing import Final

from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.head import Fields, RequestHead, ResponseHead

CHUNKED: Final = -1
UNTIL_CLOSE: Final = -2


def request_framing(head: RequestHead) -> int:
    """Return the framing of a request's body; raise BadMessage where two readers could differ."""
    fields = head.fields
    if fields.transfer_encoding is None:
        return fields.content_length or 0
    _check_coding(fields, fields.transfer_encoding, head.minor)
    return CHUNKED


def response_framing(head: ResponseHead, method: bytes) -> int:
    """Return the framing of the response to a request of that method.

    Raises BadMessage for ambiguous framing, also where no body follows: a reader that overlooks
    the rule for HEAD, 204 or 304 must not find two answers to choose from.
    """
    fields = head.fields
    coding = fields.transfer_encoding
    length = fields.content_length
    if coding is not None:
        _check_coding(fields, coding, head.minor)
    status = head.status
    if status < 200 or status == 204:
        # RFC 9110 section 8.6, RFC 9112 section 6.1: neither field may stand in these.
        if coding is not None or length:
            raise BadMessage(f"a {status} response announces a body")
        return 0
    if method == b"HEAD" or status == 304:
        return 0
    if coding is not None:
        return CHUNKED
    return UNTIL_CLOSE if length is None else length


def _check_coding(fields: Fields, coding: bytes, minor: int) -> None:
    # RFC 9112 section 6.1; stricter in refusing every coding but chunked, which a recipient of
    # unchanged bytes could fail to understand, and every message that carries both fields.
    if fields.content_length is not None:
        raise BadMessage("both Transfer-Encoding and Content-Length are given")
    if minor == 0:
        raise BadMessage("Transfer-Encoding is not defined for HTTP/1.0")
    if coding.lower() != b"chunked":
        raise BadMessage("Transfer-Encoding is not exactly chunked")
