"""Bodies and responses that belong to one mark, so that bytes of another exchange are noticed."""

from typing import Final

from tests.helpers.messages import Message
from tests.helpers.origins import chunk, http_response
from tests.helpers.script import head
from tests.network.mixed_load.bodies import content

_SIZES: Final = (0, 17, 5000, 90_000)
_LONG: Final = 200_000


def mark_of(path: str) -> str:
    """Return the mark in a target."""
    return path.rpartition("/")[2]


def upload(mark: str) -> bytes:
    """Return the body of a usual request; it is often empty."""
    return content(f"up {mark}", _SIZES[int(mark) // 4 % 4])


def long_upload(mark: str) -> bytes:
    """Return the body of a request that takes several reads."""
    return content(f"long up {mark}", _LONG)


def usual_response(mark: str) -> bytes:
    """Return the usual response, with Content-Length or in chunks."""
    body = content(mark, _SIZES[int(mark) % 4])
    if int(mark) // 4 % 2:
        return http_response(body, f"X-Mark: {mark}")
    return _chunked_start(mark) + (chunk(body) if body else b"") + b"0\r\n\r\n"


def long_response(mark: str) -> bytes:
    """Return a response that takes several reads."""
    return http_response(content(f"long {mark}", _LONG), f"X-Mark: {mark}")


def half_response(mark: str) -> bytes:
    """Return the first half of a long response."""
    return long_response(mark)[: _LONG // 2]


def half_chunked(mark: str) -> bytes:
    """Return a chunked response without its end."""
    return _chunked_start(mark) + chunk(content(f"long {mark}", _LONG // 2))


def _chunked_start(mark: str) -> bytes:
    return head("HTTP/1.1 200 OK", f"X-Mark: {mark}", "Transfer-Encoding: chunked")


def expect_response(response: Message, expected: bytes) -> None:
    """Fail unless a response has exactly the expected head and body."""
    head, _, body = expected.partition(b"\r\n\r\n")
    assert response.head == head
    if response.field("transfer-encoding"):
        size, _, chunks = body.partition(b"\r\n")
        body = chunks[: int(size, 16)]
    assert response.body == body
