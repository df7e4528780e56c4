"""What belongs to a mark and to no other, so that bytes which end up with somebody else show."""

from typing import Final

from tests.helpers.messages import Message
from tests.helpers.origins import answer, chunk
from tests.helpers.script import head
from tests.network.mixed_load.bodies import content

_SIZES: Final = (0, 17, 5000, 90_000)
_LONG: Final = 200_000


def mark_of(path: str) -> str:
    """Return the mark in a target."""
    return path.rpartition("/")[2]


def upload(mark: str) -> bytes:
    """Return the body of a usual request; that of many is empty."""
    return content(f"up {mark}", _SIZES[int(mark) // 4 % 4])


def long_upload(mark: str) -> bytes:
    """Return the body of a request that takes several reads."""
    return content(f"long up {mark}", _LONG)


def usual_answer(mark: str) -> bytes:
    """Return an answer, one of both framings."""
    body = content(mark, _SIZES[int(mark) % 4])
    if int(mark) // 4 % 2:
        return answer(body, f"X-Mark: {mark}")
    return _chunked_start(mark) + (chunk(body) if body else b"") + b"0\r\n\r\n"


def long_answer(mark: str) -> bytes:
    """Return an answer that takes several reads."""
    return answer(content(f"long {mark}", _LONG), f"X-Mark: {mark}")


def half(mark: str) -> bytes:
    """Return the first half of a long answer."""
    return long_answer(mark)[: _LONG // 2]


def half_chunked(mark: str) -> bytes:
    """Return a chunked answer without its end."""
    return _chunked_start(mark) + chunk(content(f"long {mark}", _LONG // 2))


def _chunked_start(mark: str) -> bytes:
    return head("HTTP/1.1 200 OK", f"X-Mark: {mark}", "Transfer-Encoding: chunked")


def is_this(got: Message, wanted: bytes) -> None:
    """Fail unless an answer is this one, head and body."""
    start, _, body = wanted.partition(b"\r\n\r\n")
    assert got.head == start
    if got.field("transfer-encoding"):
        size, _, rest = body.partition(b"\r\n")
        body = rest[: int(size, 16)]
    assert got.body == body
