"""Whether h11 reads a message as we do: what came, where h11 reads that, and what leaves, always.

Two exceptions: a CONNECT has no body to compare, and h11 judges framing fields among the trailers,
where they mean nothing and we drop them (RFC 9110 section 6.5.1).
"""

import re

import h11

from cmux_proxy.errors import RouteRefused
from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.framing import CHUNKED, UNTIL_CLOSE
from cmux_proxy.http1.head import RequestHead
from cmux_proxy.http1.response_body import response_body
from cmux_proxy.http1.response_coding import WRAP
from cmux_proxy.http1.serialize import LAST_CHUNK, encode_chunk
from tests.helpers.feeding import feed_pieces
from tests.helpers.judging import (
    CHUNKS,
    JudgedRequest,
    JudgedResponse,
    judge_request,
    judge_response,
    response_head,
)
from tests.helpers.oracle import read_request, read_response

_FRAMING_TRAILER = re.compile(rb"(?i)\n(?:content-length|transfer-encoding):")
_FINAL = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
_CHUNKED_HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def accepted(data: bytes) -> JudgedRequest | None:
    """Return the request if it is accepted and whole."""
    try:
        judged = judge_request([data])
    except (BadMessage, RouteRefused):
        return None
    return judged if judged is not None and judged.is_complete else None


def content_of(framing: int, data: bytes) -> bytes:
    """Return what is inside the body's bytes."""
    return feed_pieces(response_body(framing, CHUNKS, unwrap=True), [data]).output


def has_framing_trailer(framing: int, body: bytes) -> bool:
    """Return whether there is a trailer that h11 takes for more than a trailer."""
    return framing == CHUNKED and _FRAMING_TRAILER.search(body) is not None


def assert_agreed_request(data: bytes) -> None:
    """Fail unless h11 reads an accepted request as we do, and what is sent on too."""
    judged = accepted(data)
    if judged is None or judged.head.method == b"CONNECT":
        return
    head = judged.head
    came = data[head.end :]
    content = content_of(judged.framing, came)
    if not has_framing_trailer(judged.framing, came):
        parsed = read_request(data)
        assert parsed.start == (head.method, head.target, b"1.%d" % head.minor)
        assert parsed.content == content
        assert parsed.trailing_data == judged.trailing_data
    sent = read_request(judged.forwarded + judged.trailing_data)
    assert sent.start[0] == head.method
    assert sent.start[2] == b"1.1"
    assert sent.content == content
    assert sent.trailing_data == judged.trailing_data
    assert not any(name.startswith(b"x-cmux-port") for name, _ in sent.fields + sent.trailers)


def assert_agreed_response(data: bytes, request: RequestHead) -> None:
    """Fail unless h11 reads what is delivered of an accepted response, with the same content.

    h11 refuses some of what is normalized; what it reads of that, it reads as we do.
    """
    try:
        judged = judge_response(request, [data])
    except BadMessage:
        return
    if judged is None or not judged.is_complete or judged.status == 101:
        return
    if judged.status < 200:
        sent = read_response(judged.head + _FINAL, "GET", is_closed=False)
        assert (sent.interim, sent.content) == ([judged.status], b"ok")
        return
    head = response_head(data)
    came = head.buffer[head.end :]
    content = content_of(judged.framing, came)
    method = request.method.decode()
    if not has_framing_trailer(judged.framing, came):
        _assert_read_alike(data, judged, content, method)
    sent = read_response(delivered(judged), method, is_closed=True)
    assert sent.start[0] == b"%d" % judged.status
    assert sent.content == content
    assert sent.trailing_data == b""


def _assert_read_alike(data: bytes, judged: JudgedResponse, content: bytes, method: str) -> None:
    try:
        parsed = read_response(data, method, judged.framing == UNTIL_CLOSE)
    except h11.RemoteProtocolError:
        assert not judged.keeps_alive, "h11 refuses what has not been normalized"
        return
    assert parsed.start[0] == b"%d" % judged.status
    assert parsed.content == content
    assert parsed.trailing_data == judged.trailing_data


def delivered(judged: JudgedResponse) -> bytes:
    """Return the bytes that the client gets."""
    body = judged.body
    if judged.coding & WRAP:
        body = (encode_chunk(body) if body else b"") + LAST_CHUNK
    return judged.head + body


def assert_agreed_chunks(sent: bytes, content: bytes) -> None:
    """Fail unless h11 finds this content in a chunked body that was sent on, and nothing else."""
    parsed = read_response(_CHUNKED_HEAD + sent, "GET", is_closed=False)
    assert parsed.content == content
    assert parsed.trailing_data == b""


def assert_raw_chunks_agreed(
    data: bytes, content: bytes, trailing_data: bytes, is_normalized: bool
) -> None:
    """Fail unless h11 finds the same in a chunked body that came; it may refuse a mended one."""
    try:
        parsed = read_response(_CHUNKED_HEAD + data, "GET", is_closed=False)
    except h11.RemoteProtocolError:
        assert is_normalized, "h11 refuses what has not been mended"
        return
    assert parsed.content == content
    assert parsed.trailing_data == trailing_data
