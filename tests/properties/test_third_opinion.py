"""httptools reads every forwarded message as the proxy does, or refuses it.

It is the parser of Node.js, so many upstreams and clients read messages in this way. It refuses
some messages that the RFCs allow; the reasons are listed here, and any other reason fails.
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

NEXT = b"GET /next HTTP/1.1\r\nHost: b\r\n\r\n"
NEXT_RESPONSE = b"HTTP/1.1 299 Next\r\nContent-Length: 0\r\n\r\n"
NEW = request_head(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
OLD = request_head(b"GET / HTTP/1.0\r\n\r\n")

# It accepts registered methods, and some of other protocols.
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
    """Return the content of a body."""
    return feed_pieces(response_body(framing, CHUNKS, unwrap=True), [data]).output


def check_request(data: bytes) -> bool:
    """Return whether httptools accepts it; fail if it reads another message."""
    judged = accepted(data)
    if judged is None:
        return False
    try:
        messages = requests_in(judged.forwarded + NEXT)
    except httptools.HttpParserError as error:
        if str(error).startswith(KNOWN_REFUSALS):
            return False
        raise
    method, target, _version = judged.forwarded.split(b"\r\n")[0].split(b" ")
    assert messages.starts == [(method, target, b"1.1"), (b"GET", b"/next", b"1.1")]
    assert messages.contents == [content_of(judged.framing, data[judged.head.end :]), b""]
    assert messages.ended == 2
    assert not any(name.startswith(b"x-cmux-port") for name, _ in messages.fields[0])
    return True


def check_response(data: bytes, to_old_client: bool) -> bool:
    """Return whether httptools accepts it; fail if it reads another message."""
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
    # The connection of an HTTP/1.0 client closes, so no response may follow.
    messages = responses_in(judged.head + body + (b"" if to_old_client else NEXT_RESPONSE))
    assert messages.starts[0] == (b"%d" % judged.status, b"1.1")
    assert messages.contents[0] == content
    assert [start[0] for start in messages.starts[1:]] == ([] if to_old_client else [b"299"])
    return True


def _content(framing: int, body: bytes) -> bytes:
    return body if framing == UNTIL_CLOSE else content_of(framing, body)


@given(mutated(requests()))
def test_httptools_reads_one_request(data: bytes) -> None:
    check_request(data)


@given(mutated(responses()), st.booleans())
def test_httptools_reads_one_response(data: bytes, to_old_client: bool) -> None:
    check_response(data, to_old_client)


def test_httptools_reads_forwarded_messages_with_contested_framing() -> None:
    assert [data for data in CONTESTED_REQUESTS if check_request(data)]
    for to_old_client in (False, True):
        assert [data for data in CONTESTED_RESPONSES if check_response(data, to_old_client)]


REQUESTS = [case for case in read_cases("requests/valid") if accepted(case.data)]
RESPONSES = [case for case in read_cases("responses/valid") if "request" not in case.expected]
REFUSED = {"methods-are-tokens", "methods-are-case-sensitive"}


@pytest.mark.parametrize("case", REQUESTS, ids=names(REQUESTS))
def test_httptools_reads_the_requests_of_the_corpus(case: Case) -> None:
    assert check_request(case.data) is (case.name not in REFUSED)


@pytest.mark.parametrize("case", RESPONSES, ids=names(RESPONSES))
def test_httptools_reads_the_responses_of_the_corpus(case: Case) -> None:
    check_response(case.data, to_old_client=False)
    check_response(case.data, to_old_client=True)


def test_httptools_detects_ambiguous_messages() -> None:
    """It refuses two framings, and finds the second of two requests."""
    both = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
    with pytest.raises(httptools.HttpParserError):
        requests_in(both + b"0\r\n\r\n")
    assert [start[1] for start in requests_in(NEXT + NEXT).starts] == [b"/next", b"/next"]
