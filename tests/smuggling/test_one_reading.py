"""Strict and lax readers read a forwarded message in the same way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.cases import Case, names, read_cases
from tests.helpers.grammars import (
    CONTESTED_REQUESTS,
    CONTESTED_RESPONSES,
    mutated,
    requests,
    responses,
)
from tests.helpers.one_reading import (
    LaxReader,
    assert_one_framing,
    check_request,
    check_response,
)


@given(mutated(requests()))
def test_a_forwarded_request_has_one_reading(data: bytes) -> None:
    check_request(data)


def test_a_request_with_contested_framing_has_one_reading_or_none() -> None:
    accepted = [data for data in CONTESTED_REQUESTS if check_request(data)]
    assert accepted


def test_a_response_with_contested_framing_has_one_reading_or_none() -> None:
    for to_old_client in (False, True):
        accepted = [data for data in CONTESTED_RESPONSES if check_response(data, to_old_client)]
        assert accepted


@given(requests())
def test_valid_requests_are_forwarded(data: bytes) -> None:
    assert check_request(data)


@given(mutated(responses()), st.booleans())
def test_a_forwarded_response_has_one_reading(data: bytes, to_old_client: bool) -> None:
    check_response(data, to_old_client)


@given(responses(), st.booleans())
def test_valid_responses_are_forwarded(data: bytes, to_old_client: bool) -> None:
    assert check_response(data, to_old_client)


REQUESTS = read_cases("requests/valid")


@pytest.mark.parametrize("case", REQUESTS, ids=names(REQUESTS))
def test_every_valid_request_of_the_corpus_has_one_reading(case: Case) -> None:
    assert check_request(case.data) is not case.data.startswith(b"CONNECT")


def test_the_lax_reader_is_lax() -> None:
    """It has to find hidden framing, so that the tests of this file are meaningful."""
    hidden = (
        b"Content-Length : 5\r\n",
        b"A: 1\nContent-Length: 5\r\n",
        b"A: 1\rContent-Length: 5\r\n",
        b"\x00CONTENT-LENGTH: 5\r\n",
        b"Content-Length:\r\n 5\r\n",
        b"Content-Length: 5, 5\r\n",
    )
    for line in hidden:
        lax = LaxReader(b"GET / HTTP/1.1\r\n" + line + b"Transfer-Encoding: \x0bchunked\r\n\r\n")
        assert set(lax.lengths) >= {b"5"}
        assert lax.codings == [b"chunked"]
        with pytest.raises(AssertionError):
            assert_one_framing(lax, 5)
