"""Whatever we send on, httptools reads as the one message that was meant, or refuses.

It is the parser of Node.js, so this is how a large part of the upstreams and of the clients read.
It refuses some of what the RFCs allow; the reasons are listed here, and another one fails.
"""

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmux_proxy.errors import RouteRefused
from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.framing import UNTIL_CLOSE
from cmux_proxy.http1.response_body import response_body
from cmux_proxy.http1.response_coding import UNWRAP, WRAP
from cmux_proxy.http1.serialize import LAST_CHUNK, encode_chunk
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
    judge_request,
    judge_response,
    request_head,
)
from tests.helpers.llhttp import requests_in, responses_in

NEXT = b"GET /behind HTTP/1.1\r\nHost: b\r\n\r\n"
NEXT_ANSWER = b"HTTP/1.1 299 Behind\r\nContent-Length: 0\r\n\r\n"
NEW = request_head(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
OLD = request_head(b"GET / HTTP/1.0\r\n\r\n")

# It knows the methods that are registered, and some of other protocols.
KNOWN_REFUSALS = (
    "Invalid method encountered",
    "Expected HTTP/, RTSP/ or ICE/",
    "Expected SOURCE method for ICE/x.x request",
)


def accepted(data: bytes) -> JudgedRequest | None:
    """Return the request if it is accepted, whole, and neither a CONNECT nor an upgrade."""
    try:
        judged = judge_request([data])
    except (BadMessage, RouteRefused):
        return None
    if judged is None or not judged.is_complete or judged.upgrade:
        return None
    return None if judged.head.method == b"CONNECT" else judged


def content_of(framing: int, data: bytes) -> bytes:
    """Return what is inside the body's bytes."""
    return feed_pieces(response_body(framing, CHUNKS, unwrap=True), [data]).output


def check_request(data: bytes) -> bool:
    """Return whether httptools has read it; fail if it has read something else."""
    judged = accepted(data)
    if judged is None:
        return False
    try:
        seen = requests_in(judged.forwarded + NEXT)
    except httptools.HttpParserError as error:
        if str(error).startswith(KNOWN_REFUSALS):
            return False
        raise
    method, target, _version = judged.forwarded.split(b"\r\n")[0].split(b" ")
    assert seen.starts == [(method, target, b"1.1"), (b"GET", b"/behind", b"1.1")]
    assert seen.contents == [content_of(judged.framing, data[judged.head.end :]), b""]
    assert seen.ended == 2
    assert not any(name.startswith(b"x-cmux-port") for name, _ in seen.fields[0])
    return True


def check_response(data: bytes, to_old_client: bool) -> bool:
    """Return whether httptools has read it; fail if it has read something else."""
    try:
        judged = judge_response(OLD if to_old_client else NEW, [data])
    except BadMessage:
        return False
    if judged is None or not judged.is_complete or judged.status < 200:
        return False
    content = judged.body if judged.coding & UNWRAP else _content(judged.framing, judged.body)
    body = judged.body
    if judged.coding & WRAP:
        body = (encode_chunk(body) if body else b"") + LAST_CHUNK
    # An old client is told to close, so nothing may follow.
    seen = responses_in(judged.head + body + (b"" if to_old_client else NEXT_ANSWER))
    assert seen.starts[0] == (b"%d" % judged.status, b"1.1")
    assert seen.contents[0] == content
    assert [start[0] for start in seen.starts[1:]] == ([] if to_old_client else [b"299"])
    return True


def _content(framing: int, body: bytes) -> bytes:
    return body if framing == UNTIL_CLOSE else content_of(framing, body)


@given(mutated(requests()))
def test_httptools_reads_the_one_request_that_was_meant(data: bytes) -> None:
    check_request(data)


@given(mutated(responses()), st.booleans())
def test_httptools_reads_the_one_response_that_was_meant(data: bytes, to_old_client: bool) -> None:
    check_response(data, to_old_client)


def test_httptools_reads_what_we_send_on_of_contested_framing() -> None:
    assert [data for data in CONTESTED_REQUESTS if check_request(data)]
    for to_old_client in (False, True):
        assert [data for data in CONTESTED_RESPONSES if check_response(data, to_old_client)]


REQUESTS = [case for case in read_cases("requests/valid") if accepted(case.data)]
RESPONSES = [case for case in read_cases("responses/valid") if "request" not in case.expected]
REFUSED = {"methods-are-tokens", "methods-know-case"}


@pytest.mark.parametrize("case", REQUESTS, ids=names(REQUESTS))
def test_httptools_reads_the_requests_of_the_corpus_as_meant(case: Case) -> None:
    assert check_request(case.data) is (case.name not in REFUSED)


@pytest.mark.parametrize("case", RESPONSES, ids=names(RESPONSES))
def test_httptools_reads_the_responses_of_the_corpus_as_meant(case: Case) -> None:
    check_response(case.data, to_old_client=False)
    check_response(case.data, to_old_client=True)


def test_httptools_sees_what_is_wrong() -> None:
    """The third opinion is one: it refuses two framings, and finds the second of two requests."""
    both = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
    with pytest.raises(httptools.HttpParserError):
        requests_in(both + b"0\r\n\r\n")
    assert [start[1] for start in requests_in(NEXT + NEXT).starts] == [b"/behind", b"/behind"]
