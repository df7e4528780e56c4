"""Responses that the proxy itself sends, as bytes ready to send.

Does not know when one is sent; `relay/failures.py` decides that.
"""

from http import HTTPStatus
from typing import Final, NamedTuple

CONNECTION_ESTABLISHED: Final = b"HTTP/1.1 200 Connection established\r\n\r\n"
# A router may refuse with a status that HTTPStatus does not have.
_PHRASES: Final = {status.value: status.phrase for status in HTTPStatus}


class Content(NamedTuple):
    """The body of a response, its media type, and further whole field lines that belong to it."""

    media_type: str
    body: bytes
    fields: bytes = b""


def text_content(text: str) -> Content:
    """Return one line of plain text as a content."""
    return Content("text/plain; charset=utf-8", text.encode("utf-8") + b"\n")


def error_response(
    status: int, content: Content, error: str, date: bytes, with_body: bool, fields: bytes
) -> bytes:
    """Return a whole error response.

    `error` is the Proxy-Status error type (RFC 9209 section 2.3), or empty for none; `date` is an
    IMF-fixdate, `fields` are further whole field lines. `with_body` is False in a response to HEAD.
    """
    body = content.body
    head = (
        f"HTTP/1.1 {status} {_PHRASES.get(status, 'Refused')}\r\n"
        f"Content-Type: {content.media_type}\r\n"
        f"Content-Length: {len(body)}\r\n"
        "Cache-Control: no-store\r\n"
        f"Proxy-Status: cmux-proxy{f'; error={error}' if error else ''}\r\n"
    )
    end = b"Date: " + date + b"\r\n" + content.fields + fields + b"\r\n"
    return head.encode("ascii") + end + (body if with_body else b"")
