"""What checks say."""

from email.message import Message
from http.client import HTTPMessage

import pytest

from cmux_proxy.client.check_result import (
    PROBLEM,
    CheckResult,
    milliseconds,
    refused_by_proxy,
    status_told,
    unanswered,
)
from cmux_proxy.client.probe import Answer, NoAnswer


def answer(status: int, error: str = "", text: str = "words") -> Answer:
    fields = HTTPMessage()
    Message.add_header(fields, "Proxy-Status", f"cmux-proxy; error={error}")
    return Answer(status, fields, text, True, 0.1, 0.2)


@pytest.mark.parametrize(
    ("status", "error", "remedy", "is_timeout"),
    [
        (401, "http_request_denied", "--token-file FILE", False),
        (407, "http_request_denied", "--token-file FILE", False),
        (403, "http_request_denied", "", False),
        (502, "connection_refused", "", False),
        (502, "dns_error", "check --upstream-host or --workspace-host of the proxy", False),
        (504, "connection_timeout", "see whether the service hangs", True),
    ],
)
def test_the_proxy_speaks_for_itself(
    status: int, error: str, remedy: str, is_timeout: bool
) -> None:
    says = f"before, the proxy answers {status}: words"
    expected = CheckResult(PROBLEM, "route", says, remedy, is_timeout)
    assert refused_by_proxy("route", answer(status, error), "before, ") == expected


def test_no_answer_is_a_problem_and_perhaps_a_timeout() -> None:
    assert unanswered("a", NoAnswer("gone"), "help") == (PROBLEM, "a", "gone", "help", False)
    assert unanswered("a", NoAnswer("slow", True)) == (PROBLEM, "a", "slow", "", True)


def test_a_status_has_its_text_if_there_is_one() -> None:
    assert status_told(answer(403)) == "403 (words)"
    assert status_told(answer(403, text="")) == "403"


def test_times_are_milliseconds() -> None:
    assert milliseconds(0.0126) == "13 ms"
