"""Compares how h11 reads a message with how the proxy does.

h11 has to read every forwarded message in the same way, and the original message if it accepts it.
Two exceptions: a CONNECT has no body to compare, and h11 reads framing fields in trailers, which
the proxy drops (RFC 9110 section 6.5.1).
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
    """Return the content of a body."""
    return feed_pieces(response_body(framing, CHUNKS, unwrap=True), [data]).output


def has_framing_trailer(framing: int, body: bytes) -> bool:
    """Return whether there is a trailer that h11 reads as framing."""
    return framing == CHUNKED and _FRAMING_TRAILER.search(body) is not None


def assert_agreed_request(data: bytes) -> None:
    """Fail unless h11 reads an accepted request, and the forwarded one, as the proxy does."""
    judged = accepted(data)
    if judged is None or judged.head.method == b"CONNECT":
        return
    head = judged.head
    body = data[head.end :]
    content = content_of(judged.framing, body)
    if not has_framing_trailer(judged.framing, body):
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
    """Fail unless h11 reads the forwarded form of an accepted response, with the same content.

    h11 refuses some responses that are normalized; others it reads as the proxy does.
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
    body = head.buffer[head.end :]
    content = content_of(judged.framing, body)
    method = request.method.decode()
    if not has_framing_trailer(judged.framing, body):
        _assert_same_reading(data, judged, content, method)
    sent = read_response(delivered(judged), method, is_closed=True)
    assert sent.start[0] == b"%d" % judged.status
    assert sent.content == content
    assert sent.trailing_data == b""


def _assert_same_reading(data: bytes, judged: JudgedResponse, content: bytes, method: str) -> None:
    try:
        parsed = read_response(data, method, judged.framing == UNTIL_CLOSE)
    except h11.RemoteProtocolError:
        assert not judged.keeps_alive, "h11 refuses a response that was not normalized"
        return
    assert parsed.start[0] == b"%d" % judged.status
    assert parsed.content == content
    assert parsed.trailing_data == judged.trailing_data


def delivered(judged: JudgedResponse) -> bytes:
    """Return the bytes that are sent to the client."""
    body = judged.body
    if judged.coding & WRAP:
        body = (encode_chunk(body) if body else b"") + LAST_CHUNK
    return judged.head + body


def assert_agreed_chunks(sent: bytes, content: bytes) -> None:
    """Fail unless h11 reads exactly this content in a forwarded chunked body."""
    parsed = read_response(_CHUNKED_HEAD + sent, "GET", is_closed=False)
    assert parsed.content == content
    assert parsed.trailing_data == b""


def assert_raw_chunks_agreed(
    data: bytes, content: bytes, trailing_data: bytes, is_normalized: bool
) -> None:
    """Fail unless h11 reads a received chunked body alike; it may refuse a normalized one."""
    try:
        parsed = read_response(_CHUNKED_HEAD + data, "GET", is_closed=False)
    except h11.RemoteProtocolError:
        assert is_normalized, "h11 refuses a body that was not normalized"
        return
    assert parsed.content == content
    assert parsed.trailing_data == trailing_data
