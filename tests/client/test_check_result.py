"""Results of checks: level, finding and remedy."""

from email.message import Message
from http.client import HTTPMessage

import pytest

from cmux_proxy.client.check_result import (
    PROBLEM,
    CheckResult,
    describe_status,
    milliseconds,
    no_response,
    refused_by_proxy,
)
from cmux_proxy.client.probe import NoResponse, ProbeResponse


def response(status: int, error: str = "", text: str = "words") -> ProbeResponse:
    fields = HTTPMessage()
    Message.add_header(fields, "Proxy-Status", f"cmux-proxy; error={error}")
    return ProbeResponse(status, fields, text, True, 0.1, 0.2)


@pytest.mark.parametrize(
    ("status", "error", "remedy", "is_timeout"),
    [
        (401, "http_request_denied", "--token-file FILE", False),
        (407, "http_request_denied", "--token-file FILE", False),
        (403, "http_request_denied", "", False),
        (502, "connection_refused", "", False),
        (502, "dns_error", "check --upstream-host or --workspace-host of the proxy", False),
        (504, "connection_timeout", "check whether the service hangs", True),
    ],
)
def test_an_error_of_the_proxy_has_a_remedy(
    status: int, error: str, remedy: str, is_timeout: bool
) -> None:
    finding = f"before, the proxy responds with {status}: words"
    expected = CheckResult(PROBLEM, "route", finding, remedy, is_timeout)
    assert refused_by_proxy("route", response(status, error), "before, ") == expected


def test_a_missing_response_is_a_problem_and_perhaps_a_timeout() -> None:
    assert no_response("a", NoResponse("gone"), "help") == (PROBLEM, "a", "gone", "help", False)
    assert no_response("a", NoResponse("slow", True)) == (PROBLEM, "a", "slow", "", True)


def test_a_status_has_its_text_if_there_is_one() -> None:
    assert describe_status(response(403)) == "403 (words)"
    assert describe_status(response(403, text="")) == "403"


def test_times_are_milliseconds() -> None:
    assert milliseconds(0.0126) == "13 ms"
