"""Responses that the proxy itself gives, as bytes ready to send.

Knows the shape of such a response, not when one is due: `relay/failures.py` decides that.
"""

from http import HTTPStatus
from typing import Final

CONNECTION_ESTABLISHED: Final = b"HTTP/1.1 200 Connection established\r\n\r\n"
# A router may refuse with a status that has no name of its own.
_PHRASES: Final = {status.value: status.phrase for status in HTTPStatus}


def error_reply(
    status: int, text: str, error: str, date: bytes, with_body: bool, fields: bytes
) -> bytes:
    """Return a whole error response.

    `text` is one line without its end, `error` the Proxy-Status error type (RFC 9209 section
    2.3), `date` an IMF-fixdate, `fields` further complete field lines. `with_body` is False in
    answer to HEAD.
    """
    body = text.encode("utf-8") + b"\n"
    head = (
        f"HTTP/1.1 {status} {_PHRASES.get(status, 'Refused')}\r\n"
        "Content-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\n"
        "Cache-Control: no-store\r\n"
        f"Proxy-Status: cmux-proxy; error={error}\r\n"
    )
    whole = head.encode("ascii") + b"Date: " + date + b"\r\n" + fields + b"\r\n"
    return whole + body if with_body else whole
