"""Every request of the corpus, split into reads in many ways."""

import pytest

from cmux_proxy.errors import RouteRefused
from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.framing import CHUNKED
from tests.helpers.cases import Case, names, read_cases
from tests.helpers.feeding import facts, ways_to_split
from tests.helpers.judging import JudgedRequest, judge_request

VALID = read_cases("requests/valid")
INVALID = read_cases("requests/invalid")

_VERSIONS = {"1.0": 0, "1.1": 1}
_KEYS = {
    "about", "forwarded", "trailing_data", "complete", "framing", "host", "method", "keeps_alive",
    "port", "target", "upgrade", "version",
}  # fmt: skip


def judged(pieces: list[bytes]) -> JudgedRequest:
    request = judge_request(pieces)
    assert request is not None, "the head is not complete"
    return request


def refusal(pieces: list[bytes]) -> BadMessage | RouteRefused:
    try:
        request = judge_request(pieces)
    except (BadMessage, RouteRefused) as error:
        return error
    raise AssertionError(f"not refused: {request}")


@pytest.mark.parametrize("case", VALID, ids=names(VALID))
def test_a_valid_request_is_forwarded_as_its_case_says(case: Case) -> None:
    assert set(case.expected) <= _KEYS
    request = judged([case.data])
    assert request.forwarded == case.spelled("forwarded")
    assert request.trailing_data == case.spelled("trailing_data")
    assert request.is_complete == case.expected.get("complete", True)
    assert request.port == case.expected.get("port", 3000)


@pytest.mark.parametrize("case", VALID, ids=names(VALID))
def test_the_facts_of_a_valid_request_are_those_of_its_case(case: Case) -> None:
    request = judged([case.data])
    head = request.head
    line = case.data.partition(b"\r\n")[0].decode().split(" ")
    framing = case.expected.get("framing", 0)
    assert head.method == case.text("method", line[0]).encode()
    assert head.target == case.text("target", line[1]).encode()
    assert head.minor == _VERSIONS[case.text("version", "1.1")]
    assert request.framing == (CHUNKED if framing == "chunked" else framing)
    assert request.keeps_alive == case.expected.get("keeps_alive", True)
    assert request.upgrade == case.expected.get("upgrade", False)
    if "host" in case.expected:
        assert head.host == case.text("host", "").encode()


@pytest.mark.parametrize("case", VALID, ids=names(VALID))
def test_a_valid_request_is_the_same_however_it_is_split(case: Case) -> None:
    whole = judged([case.data])
    for pieces in ways_to_split(case.data):
        request = judged(pieces)
        assert request == whole, f"another outcome in {pieces}"
        assert facts(request.head) == facts(whole.head), f"other facts in {pieces}"


@pytest.mark.parametrize("case", INVALID, ids=names(INVALID))
def test_an_invalid_request_is_refused_as_its_case_says(case: Case) -> None:
    assert set(case.expected) == {"about", "status", "reason"}
    error = refusal([case.data])
    assert (error.status, str(error)) == (case.expected["status"], case.expected["reason"])


@pytest.mark.parametrize("case", INVALID, ids=names(INVALID))
def test_an_invalid_request_is_refused_however_it_is_split(case: Case) -> None:
    for pieces in ways_to_split(case.data):
        assert refusal(pieces).status == case.expected["status"], f"another status in {pieces}"


def test_the_corpus_of_requests_is_complete() -> None:
    assert len(VALID) >= 90
    assert len(INVALID) >= 200
