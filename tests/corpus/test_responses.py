"""Every response of the corpus, split into reads in many ways."""

import pytest

from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.framing import CHUNKED, UNTIL_CLOSE
from cmux_proxy.http1.head import RequestHead
from cmux_proxy.http1.response_coding import KEEP, UNWRAP, WRAP
from tests.helpers.cases import Case, names, read_cases
from tests.helpers.feeding import ways_to_split
from tests.helpers.judging import JudgedResponse, judge_response, request_head

VALID = read_cases("responses/valid")
INVALID = read_cases("responses/invalid")

_KEYS = {
    "about", "request", "trailing_data", "body", "complete", "framing", "head", "coding",
    "keeps_alive", "status",
}  # fmt: skip
_FRAMINGS = {"chunked": CHUNKED, "until close": UNTIL_CLOSE}
_CODINGS = {"keep": KEEP, "wrap": WRAP, "unwrap": UNWRAP}


def request_of(case: Case) -> RequestHead:
    """Return the request of a case: "METHOD VERSION [OPTION]" or "upgrade PROTOCOLS"."""
    method, _, parameters = case.text("request", "GET 1.1").partition(" ")
    if method == "upgrade":
        fields = f"Host: a\r\nConnection: upgrade\r\nUpgrade: {parameters}\r\n"
        return request_head(f"GET / HTTP/1.1\r\n{fields}\r\n".encode())
    version, _, option = parameters.partition(" ")
    fields = f"Host: a\r\nConnection: {option}\r\n"
    return request_head(f"{method} / HTTP/{version}\r\n{fields}\r\n".encode())


def judged(case: Case, pieces: list[bytes]) -> JudgedResponse:
    response = judge_response(request_of(case), pieces)
    assert response is not None, "the head is not complete"
    return response


def refusal(case: Case, pieces: list[bytes]) -> BadMessage:
    try:
        response = judge_response(request_of(case), pieces)
    except BadMessage as error:
        return error
    raise AssertionError(f"not refused: {response}")


@pytest.mark.parametrize("case", VALID, ids=names(VALID))
def test_a_valid_response_is_forwarded_as_its_case_says(case: Case) -> None:
    assert set(case.expected) <= _KEYS
    response = judged(case, [case.data])
    assert response.head == case.spelled("head")
    assert response.body == case.spelled("body")
    assert response.trailing_data == case.spelled("trailing_data")
    assert response.is_complete == case.expected.get("complete", True)


@pytest.mark.parametrize("case", VALID, ids=names(VALID))
def test_the_facts_of_a_valid_response_are_those_of_its_case(case: Case) -> None:
    response = judged(case, [case.data])
    framing = case.expected.get("framing", 0)
    assert response.status == case.expected.get("status", 200)
    assert response.framing == _FRAMINGS.get(framing, framing)
    assert response.keeps_alive == case.expected.get("keeps_alive", True)
    assert response.coding == sum(_CODINGS[word] for word in case.expected.get("coding", ["keep"]))


@pytest.mark.parametrize("case", VALID, ids=names(VALID))
def test_a_valid_response_is_the_same_however_it_is_split(case: Case) -> None:
    whole = judged(case, [case.data])
    for pieces in ways_to_split(case.data):
        assert judged(case, pieces) == whole, f"another outcome in {pieces}"


@pytest.mark.parametrize("case", INVALID, ids=names(INVALID))
def test_an_invalid_response_is_refused_as_its_case_says(case: Case) -> None:
    assert set(case.expected) <= {"about", "request", "reason"}
    assert refusal(case, [case.data]).reason == case.expected["reason"]


@pytest.mark.parametrize("case", INVALID, ids=names(INVALID))
def test_an_invalid_response_is_refused_however_it_is_split(case: Case) -> None:
    for pieces in ways_to_split(case.data):
        refusal(case, pieces)


def test_the_corpus_of_responses_is_complete() -> None:
    assert len(VALID) >= 50
    assert len(INVALID) >= 60
