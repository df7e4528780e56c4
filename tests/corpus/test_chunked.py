"""Every chunked body of the corpus, split into reads in many ways."""

import pytest

from cmux_proxy.http1.chunked_body import ChunkedBody
from tests.helpers.cases import Case, names, read_cases
from tests.helpers.feeding import Fed, feed, feed_refused
from tests.helpers.judging import CHUNKS

VALID = read_cases("chunked/valid")
INVALID = read_cases("chunked/invalid")


def wrapped() -> ChunkedBody:
    return ChunkedBody(CHUNKS, unwrap=False)


def unwrapped() -> ChunkedBody:
    return ChunkedBody(CHUNKS, unwrap=True)


@pytest.mark.parametrize("case", VALID, ids=names(VALID))
def test_a_valid_body_is_forwarded_as_its_case_says(case: Case) -> None:
    assert set(case.expected) <= {"about", "trailing_data", "complete", "content", "forwarded"}
    trailing_data = case.spelled("trailing_data")
    came = case.data.removesuffix(trailing_data)
    forwarded = case.spelled("forwarded") if "forwarded" in case.expected else came
    done = case.expected.get("complete", True)
    assert feed(wrapped, case.data) == Fed(forwarded, done, trailing_data)


@pytest.mark.parametrize("case", VALID, ids=names(VALID))
def test_a_valid_body_unwrapped_is_the_content_of_its_case(case: Case) -> None:
    done = case.expected.get("complete", True)
    assert feed(unwrapped, case.data) == Fed(
        case.spelled("content"), done, case.spelled("trailing_data")
    )


@pytest.mark.parametrize("case", INVALID, ids=names(INVALID))
def test_an_invalid_body_is_refused_as_its_case_says(case: Case) -> None:
    assert set(case.expected) == {"about", "reason"}
    assert feed_refused(wrapped, case.data).reason == case.expected["reason"]
    assert feed_refused(unwrapped, case.data).reason == case.expected["reason"]


def test_the_corpus_of_chunked_bodies_is_complete() -> None:
    assert len(VALID) >= 35
    assert len(INVALID) >= 70
