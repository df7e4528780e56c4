"""What went wrong -> the reply to the client. All statuses are chosen here.

A failure gets a reply as long as no byte of the final response has been sent; after that the
response is broken off, which `exchange.py` does.
"""

from typing import Final, NamedTuple

from cmux_proxy.errors import RouteRefused, UnavailableReason, UpstreamUnavailable
from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.observe.outcome import Outcome
from cmux_proxy.routing.target import HTTP, Target


class Failure(NamedTuple):
    """A reply the proxy makes; `error` is a Proxy-Status error type (RFC 9209 section 2.3).

    It is empty for a health check, which has not failed.
    """

    status: int
    text: str
    error: str
    outcome: Outcome
    fields: bytes = b""


_REQUEST_ERROR: Final = "http_request_error"
# The Proxy-Status error of a request whose client, token, host, port or transport is not allowed.
DENIED: Final = "http_request_denied"
# The Proxy-Status error of a port that nothing listens on.
REFUSED: Final = "connection_refused"
# How an alert of TLS begins (RFC 8446 section 5.1).
_ALERT: Final = b"\x15\x03"
_TLS_REMEDY: Final = "send X-Cmux-Scheme: https, or use --https-port"
_RETRY_SOON: Final = b"Retry-After: 1\r\n"

HEAD_TIMEOUT: Final = Failure(
    408, "the request head did not arrive in time", _REQUEST_ERROR, Outcome.REFUSED
)
BODY_TIMEOUT: Final = Failure(
    408, "the request body did not arrive in time", _REQUEST_ERROR, Outcome.REFUSED
)
DRAINING: Final = Failure(
    503,
    "the proxy is shutting down; try again soon",
    "proxy_internal_response",
    Outcome.REFUSED,
    _RETRY_SOON,
)
HEALTHY: Final = Failure(200, "ok", "", Outcome.COMPLETE)
STOPPING: Final = Failure(503, "draining", "", Outcome.COMPLETE, _RETRY_SOON)
NO_HEALTH_METHOD: Final = Failure(
    405,
    "health is asked for with GET",
    _REQUEST_ERROR,
    Outcome.REFUSED,
    b"Allow: GET, HEAD\r\n",
)
CLIENT_NOT_ALLOWED: Final = Failure(
    403,
    "clients of this address are not served here (--allow-client)",
    DENIED,
    Outcome.REFUSED,
)
TOO_MANY_CLIENTS: Final = Failure(
    503,
    "this address has too many connections (--max-clients-per-address)",
    "connection_limit_reached",
    Outcome.REFUSED,
    _RETRY_SOON,
)

TOO_MANY_REQUESTS: Final = Failure(
    503,
    "this address has too many requests at a time (--max-clients-per-address)",
    "connection_limit_reached",
    Outcome.REFUSED,
    _RETRY_SOON,
)
# Its stream is reset, so that the text is for the log's readers alone.
TOO_MANY_STREAMS: Final = Failure(
    503, "too many streams are open", "connection_limit_reached", Outcome.REFUSED, _RETRY_SOON
)

# The status and the Proxy-Status error of each reason.
_UNAVAILABLE: Final = {
    UnavailableReason.REFUSED: (502, REFUSED),
    UnavailableReason.DNS_ERROR: (502, "dns_error"),
    UnavailableReason.UNROUTABLE: (502, "destination_ip_unroutable"),
    UnavailableReason.TIMEOUT: (504, "connection_timeout"),
    UnavailableReason.TERMINATED: (502, "connection_terminated"),
    UnavailableReason.TLS_PROTOCOL: (502, "tls_protocol_error"),
    UnavailableReason.TLS_CERTIFICATE: (502, "tls_certificate_error"),
    UnavailableReason.TLS_ALERT: (502, "tls_alert_received"),
    UnavailableReason.PROTOCOL: (502, "http_protocol_error"),
    UnavailableReason.LOOP: (508, "proxy_loop_detected"),
    UnavailableReason.CONNECTION_LIMIT: (503, "connection_limit_reached"),
    UnavailableReason.RESOURCE_LIMIT: (503, "connection_limit_reached"),
}


def bad_request(error: BadMessage) -> Failure:
    """The client's message is malformed, ambiguous or too large."""
    return Failure(error.status, f"bad request: {error.reason}", _REQUEST_ERROR, Outcome.REFUSED)


def https_required(url: str) -> Failure:
    """Plain HTTP is not served here."""
    text = f"plain HTTP is not served here; use {url}"
    return Failure(400, text, DENIED, Outcome.REFUSED)


def https_redirect(url: str) -> Failure:
    """A browser asks in plain HTTP, which is not served here, for what there is with TLS."""
    location = f"Location: {url}\r\n".encode("ascii", "replace")
    return Failure(308, f"this is at {url}", DENIED, Outcome.REFUSED, location)


def handshake_failure(text: str, error: str) -> Failure:
    """A TLS handshake has failed, so that there is no response; `error` is what Record has."""
    return Failure(0, text, error, Outcome.REFUSED)


def refused(error: RouteRefused) -> Failure:
    """The request has no target."""
    return Failure(error.status, error.text, error.error, Outcome.REFUSED, error.fields)


def unavailable(error: UpstreamUnavailable) -> Failure:
    """The upstream could not be connected to."""
    status, proxy_error = _UNAVAILABLE[error.reason]
    fields = _RETRY_SOON if error.retryable else b""
    return Failure(status, error.text, proxy_error, Outcome.UNAVAILABLE, fields)


def bad_response(target: Target, error: BadMessage, data: bytes) -> Failure:
    """The upstream's response is malformed or ambiguous; `data` are its last bytes."""
    if data.startswith(_ALERT):
        text = f"{target.authority()} speaks TLS; {_TLS_REMEDY}"
    else:
        text = f"{target.authority()} did not answer in valid HTTP: {error.reason}"
    return Failure(502, text, "http_protocol_error", Outcome.UNAVAILABLE)


def no_response(target: Target, has_begun: bool, rule: str = "") -> Failure:
    """The upstream's connection ended before the response head was complete.

    `rule` is the rule of HTTP/2 that the upstream has broken, or empty.
    """
    if rule:
        text = f"{target.authority()} did not answer in valid HTTP/2: {rule}"
        return Failure(502, text, "http_protocol_error", Outcome.UNAVAILABLE)
    if has_begun:
        text = f"{target.authority()} closed the connection before the response head was complete"
        return Failure(502, text, "http_response_incomplete", Outcome.UNAVAILABLE)
    text = f"{target.authority()} closed the connection without an answer"
    if target.scheme == HTTP:
        text += f"; if it speaks TLS, {_TLS_REMEDY}"
    return Failure(502, text, "connection_terminated", Outcome.UNAVAILABLE)


def response_timeout(target: Target) -> Failure:
    """The upstream has taken too long to begin its response."""
    text = f"{target.authority()} did not answer in time"
    return Failure(504, text, "http_response_timeout", Outcome.UNAVAILABLE)


def write_timeout(target: Target) -> Failure:
    """The upstream has not read the request for too long."""
    text = f"{target.authority()} did not read the request body in time"
    return Failure(504, text, "connection_write_timeout", Outcome.UNAVAILABLE)
