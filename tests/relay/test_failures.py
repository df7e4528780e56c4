"""The table of failures: status, text, Proxy-Status error and outcome of each."""

import pytest

from cmux_proxy import RouteRefused, Target, UpstreamUnavailable
from cmux_proxy.errors import UnavailableReason
from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.observe.outcome import Outcome
from cmux_proxy.relay import failures
from cmux_proxy.relay.failures import Failure

TARGET = Target("127.0.0.1", 3000)
V6 = Target("::1", 3000)

TABLE = {
    "a head that takes too long": (
        failures.HEAD_TIMEOUT,
        (408, "the request head did not arrive in time", "http_request_error", Outcome.REFUSED),
    ),
    "shutting down": (
        failures.DRAINING,
        (
            503,
            "the proxy is shutting down; try again soon",
            "proxy_internal_response",
            Outcome.REFUSED,
        ),
    ),
    "a malformed request": (
        failures.bad_request(BadMessage("it is malformed")),
        (400, "bad request: it is malformed", "http_request_error", Outcome.REFUSED),
    ),
    "a request that is too large": (
        failures.bad_request(BadMessage("it is huge", 431)),
        (431, "bad request: it is huge", "http_request_error", Outcome.REFUSED),
    ),
    "no route": (
        failures.refused(RouteRefused(400, "no port")),
        (400, "no port", "http_request_error", Outcome.REFUSED),
    ),
    "a router's own error": (
        failures.refused(RouteRefused(403, "not there", "http_request_denied")),
        (403, "not there", "http_request_denied", Outcome.REFUSED),
    ),
    "a refused dial": (
        failures.unavailable(UpstreamUnavailable(UnavailableReason.REFUSED, "refused")),
        (502, "refused", "connection_refused", Outcome.UNAVAILABLE),
    ),
    "no descriptors": (
        failures.unavailable(UpstreamUnavailable(UnavailableReason.RESOURCE_LIMIT, "full", True)),
        (503, "full", "connection_limit_reached", Outcome.UNAVAILABLE),
    ),
    "a malformed response": (
        failures.bad_response(TARGET, BadMessage("it is malformed"), b"\x15"),
        (
            502,
            "127.0.0.1:3000 did not answer in valid HTTP: it is malformed",
            "http_protocol_error",
            Outcome.UNAVAILABLE,
        ),
    ),
    "an alert of TLS": (
        failures.bad_response(TARGET, BadMessage("it is malformed"), b"\x15\x03\x03"),
        (
            502,
            "127.0.0.1:3000 speaks TLS; send X-Cmux-Scheme: https, or use --https-port",
            "http_protocol_error",
            Outcome.UNAVAILABLE,
        ),
    ),
    "a rule of HTTP/2 that is broken": (
        failures.no_response(TARGET, False, "why"),
        (
            502,
            "127.0.0.1:3000 did not answer in valid HTTP/2: why",
            "http_protocol_error",
            Outcome.UNAVAILABLE,
        ),
    ),
    "no response over TLS": (
        failures.no_response(Target("a", 1, "https"), False),
        (
            502,
            "a:1 closed the connection without an answer",
            "connection_terminated",
            Outcome.UNAVAILABLE,
        ),
    ),
    "a certificate that is not trusted": (
        failures.unavailable(UpstreamUnavailable(UnavailableReason.TLS_CERTIFICATE, "why")),
        (502, "why", "tls_certificate_error", Outcome.UNAVAILABLE),
    ),
    "an incomplete response head": (
        failures.no_response(TARGET, True),
        (
            502,
            "127.0.0.1:3000 closed the connection before the response head was complete",
            "http_response_incomplete",
            Outcome.UNAVAILABLE,
        ),
    ),
    "no response": (
        failures.no_response(V6, False),
        (
            502,
            "[::1]:3000 closed the connection without an answer; if it speaks TLS, send "
            "X-Cmux-Scheme: https, or use --https-port",
            "connection_terminated",
            Outcome.UNAVAILABLE,
        ),
    ),
    "a response that takes too long": (
        failures.response_timeout(TARGET),
        (
            504,
            "127.0.0.1:3000 did not answer in time",
            "http_response_timeout",
            Outcome.UNAVAILABLE,
        ),
    ),
}


@pytest.mark.parametrize(("failure", "expected"), TABLE.values(), ids=TABLE)
def test_a_failure_has_its_response(
    failure: Failure, expected: tuple[int, str, str, Outcome]
) -> None:
    assert (failure.status, failure.text, failure.error, failure.outcome) == expected


@pytest.mark.parametrize(("failure", "_expected"), TABLE.values(), ids=TABLE)
def test_only_a_503_has_retry_after(failure: Failure, _expected: object) -> None:
    assert failure.fields == (b"Retry-After: 1\r\n" if failure.status == 503 else b"")


@pytest.mark.parametrize(
    ("reason", "status", "proxy_error"),
    [
        (UnavailableReason.REFUSED, 502, "connection_refused"),
        (UnavailableReason.DNS_ERROR, 502, "dns_error"),
        (UnavailableReason.UNROUTABLE, 502, "destination_ip_unroutable"),
        (UnavailableReason.TIMEOUT, 504, "connection_timeout"),
        (UnavailableReason.TERMINATED, 502, "connection_terminated"),
        (UnavailableReason.LOOP, 508, "proxy_loop_detected"),
        (UnavailableReason.CONNECTION_LIMIT, 503, "connection_limit_reached"),
        (UnavailableReason.RESOURCE_LIMIT, 503, "connection_limit_reached"),
    ],
)
def test_every_reason_has_a_status_and_a_proxy_status_error(
    reason: UnavailableReason, status: int, proxy_error: str
) -> None:
    failure = failures.unavailable(UpstreamUnavailable(reason, "text"))
    assert (failure.status, failure.text, failure.error) == (status, "text", proxy_error)
    assert failure.outcome is Outcome.UNAVAILABLE


def test_all_reasons_have_a_status() -> None:
    for reason in UnavailableReason:
        assert failures.unavailable(UpstreamUnavailable(reason, "text")).status >= 502
