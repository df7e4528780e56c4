"""Whatever we accept, h11 accepts, with the same boundaries; so also what we send on.

Two exceptions: a CONNECT has no body to compare, and h11 judges a Content-Length among the
trailers, where it means nothing and we drop it (RFC 9110 section 6.5.1).
"""

import re

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmux_proxy.errors import RouteRefused
from cmux_proxy.http1.delivery import WRAP
from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.framing import CHUNKED, UNTIL_CLOSE
from cmux_proxy.http1.response_body import response_body
from cmux_proxy.http1.rewrite import LAST_CHUNK, chunk
from tests.helpers.cases import Case, names, read_cases
from tests.helpers.feeding import feed_pieces
from tests.helpers.grammars import (
    CONTESTED_REQUESTS,
    CONTESTED_RESPONSES,
    mutated,
    requests,
    responses,
)
from tests.helpers.judging import (
    CHUNKS,
    JudgedRequest,
    JudgedResponse,
    judge_request,
    judge_response,
    request_head,
    response_head,
)
from tests.helpers.oracle import read_request, read_response

BEHIND = st.sampled_from([b"", b"GET /next HTTP/1.1\r\nHost: b\r\n\r\n", b"\r\n", b"x", b"\x00"])
NEW = request_head(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
OLD = request_head(b"GET / HTTP/1.0\r\n\r\n")


def accepted(data: bytes) -> JudgedRequest | None:
    """Return the request if it is accepted and whole."""
    try:
        judged = judge_request([data])
    except (BadMessage, RouteRefused):
        return None
    return judged if judged is not None and judged.is_complete else None


def content_of(framing: int, data: bytes) -> bytes:
    """Return what is inside the body's bytes."""
    return feed_pieces(response_body(framing, CHUNKS, unwrap=True), [data]).out


def has_framing_trailer(framing: int, body: bytes) -> bool:
    """Return whether there is the one trailer that h11 takes for more than a trailer."""
    return framing == CHUNKED and re.search(rb"(?i)\ncontent-length:", body) is not None


def assert_agreed_request(data: bytes) -> None:
    judged = accepted(data)
    if judged is None or judged.head.method == b"CONNECT":
        return
    head = judged.head
    came = data[head.end :]
    content = content_of(judged.framing, came)
    if not has_framing_trailer(judged.framing, came):
        theirs = read_request(data)
        assert theirs.start == (head.method, head.target, b"1.%d" % head.minor)
        assert theirs.content == content
        assert theirs.behind == judged.behind
    sent = read_request(judged.forwarded + judged.behind)
    assert sent.start[0] == head.method
    assert sent.start[2] == b"1.1"
    assert sent.content == content
    assert sent.behind == judged.behind
    assert not any(name.startswith(b"x-cmux-port") for name, _ in sent.fields + sent.trailers)


def assert_agreed_response(data: bytes, to_old_client: bool) -> None:
    request = OLD if to_old_client else NEW
    try:
        judged = judge_response(request, [data])
    except BadMessage:
        return
    if judged is None or not judged.is_complete or judged.status < 200:
        return
    head = response_head(data)
    came = head.buffer[head.end :]
    content = content_of(judged.framing, came)
    if not has_framing_trailer(judged.framing, came):
        assert_read_alike(data, judged, content)
    sent = read_response(delivered(judged), "GET", is_closed=True)
    assert sent.content == content


def assert_read_alike(data: bytes, judged: JudgedResponse, content: bytes) -> None:
    """h11 refuses some of what is normalized; what it reads, it reads as we do."""
    try:
        theirs = read_response(data, "GET", judged.framing == UNTIL_CLOSE)
    except h11.RemoteProtocolError:
        assert not judged.persists
        return
    assert theirs.start[0] == b"%d" % judged.status
    assert theirs.content == content
    assert theirs.behind == judged.behind


def delivered(judged: JudgedResponse) -> bytes:
    """Return the bytes that the client gets."""
    body = judged.body
    if judged.how & WRAP:
        body = (chunk(body) if body else b"") + LAST_CHUNK
    return judged.head + body


@given(mutated(requests()), BEHIND)
def test_h11_reads_requests_as_we_do(data: bytes, behind: bytes) -> None:
    assert_agreed_request(data + behind)


@given(mutated(responses()), st.booleans())
def test_h11_reads_responses_as_we_do(data: bytes, to_old_client: bool) -> None:
    assert_agreed_response(data, to_old_client)


def test_h11_reads_messages_with_contested_framing_as_we_do() -> None:
    for data in CONTESTED_REQUESTS:
        assert_agreed_request(data)
    for data in CONTESTED_RESPONSES:
        assert_agreed_response(data, to_old_client=False)
        assert_agreed_response(data, to_old_client=True)


@given(requests(), BEHIND)
def test_what_is_right_is_accepted_by_both(data: bytes, behind: bytes) -> None:
    judged = accepted(data + behind)
    assert judged is not None
    assert read_request(judged.forwarded).behind == b""


REQUESTS = read_cases("requests/valid")
RESPONSES = [case for case in read_cases("responses/valid") if "asked" not in case.expected]


@pytest.mark.parametrize("case", REQUESTS, ids=names(REQUESTS))
def test_h11_reads_the_requests_of_the_corpus_as_we_do(case: Case) -> None:
    assert_agreed_request(case.data)


@pytest.mark.parametrize("case", RESPONSES, ids=names(RESPONSES))
def test_h11_reads_the_responses_of_the_corpus_as_we_do(case: Case) -> None:
    assert_agreed_response(case.data, to_old_client=False)
    assert_agreed_response(case.data, to_old_client=True)


def test_h11_is_the_laxer_of_the_two() -> None:
    """The second opinion is one-sided: this is accepted there and refused here."""
    bare_lf = b"GET / HTTP/1.1\nHost: a\nX-Cmux-Port-Internal: 1\n\n"
    assert read_request(bare_lf).start == (b"GET", b"/", b"1.1")
    assert accepted(bare_lf) is None
    with pytest.raises(h11.RemoteProtocolError):
        read_request(b"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n")
