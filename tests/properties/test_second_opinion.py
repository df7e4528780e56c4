"""h11 accepts what the proxy accepts, and what it forwards, with the same boundaries."""

from operator import itemgetter

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmux_proxy.http1.head import RequestHead
from tests.helpers.cases import Case, names, read_cases
from tests.helpers.grammars import (
    CONTESTED_REQUESTS,
    CONTESTED_RESPONSES,
    mutated,
    requests,
    responses,
)
from tests.helpers.loosened import loosened
from tests.helpers.one_reading import HEAD, NEW, OLD
from tests.helpers.oracle import read_request
from tests.helpers.second_opinion import accepted, assert_agreed_request, assert_agreed_response

TRAILING_DATA = st.sampled_from(
    [b"", b"GET /next HTTP/1.1\r\nHost: b\r\n\r\n", b"\r\n", b"x", b"\x00"]
)


@given(mutated(requests()), TRAILING_DATA)
def test_h11_reads_requests_alike(data: bytes, trailing_data: bytes) -> None:
    assert_agreed_request(data + trailing_data)


@given(mutated(responses()), st.sampled_from([NEW, OLD, HEAD]))
def test_h11_reads_responses_alike(data: bytes, request: RequestHead) -> None:
    assert_agreed_response(data, request)


@given(mutated(loosened().map(itemgetter(1))), st.sampled_from([NEW, OLD, HEAD]))
def test_h11_reads_normalized_responses_alike(data: bytes, request: RequestHead) -> None:
    assert_agreed_response(data, request)


def test_h11_reads_messages_with_contested_framing_alike() -> None:
    for data in CONTESTED_REQUESTS:
        assert_agreed_request(data)
    for data in CONTESTED_RESPONSES:
        for request in (NEW, OLD, HEAD):
            assert_agreed_response(data, request)


@given(requests(), TRAILING_DATA)
def test_valid_requests_are_accepted_by_both(data: bytes, trailing_data: bytes) -> None:
    judged = accepted(data + trailing_data)
    assert judged is not None
    assert read_request(judged.forwarded).trailing_data == b""


REQUESTS = read_cases("requests/valid")
RESPONSES = [case for case in read_cases("responses/valid") if "request" not in case.expected]


@pytest.mark.parametrize("case", REQUESTS, ids=names(REQUESTS))
def test_h11_reads_the_requests_of_the_corpus_alike(case: Case) -> None:
    assert_agreed_request(case.data)


@pytest.mark.parametrize("case", RESPONSES, ids=names(RESPONSES))
def test_h11_reads_the_responses_of_the_corpus_alike(case: Case) -> None:
    for request in (NEW, OLD, HEAD):
        assert_agreed_response(case.data, request)


def test_h11_is_laxer_than_the_proxy() -> None:
    """h11 accepts more than the proxy does, so it is compared for accepted messages only."""
    bare_lf = b"GET / HTTP/1.1\nHost: a\nX-Cmux-Port-Internal: 1\n\n"
    assert read_request(bare_lf).start == (b"GET", b"/", b"1.1")
    assert accepted(bare_lf) is None
    with pytest.raises(h11.RemoteProtocolError):
        read_request(b"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n")
