"""The public exceptions: one base class, and the attributes of each."""

import pytest

from cmux_proxy.errors import (
    CertificateError,
    CmuxProxyError,
    ConfigError,
    ListenError,
    RouteRefused,
    UnavailableReason,
    UpstreamUnavailable,
)


def test_a_config_error_names_the_field_and_is_a_value_error() -> None:
    error = ConfigError("listen", "is wrong")
    assert isinstance(error, ValueError)
    assert (error.field, error.reason, str(error)) == ("listen", "is wrong", "listen: is wrong")


def test_a_listen_error_names_the_address() -> None:
    error = ListenError("127.0.0.1:80", "it is in use")
    assert (error.address, error.reason) == ("127.0.0.1:80", "it is in use")
    assert str(error) == "cannot listen on 127.0.0.1:80: it is in use"


def test_a_refused_route_makes_a_response() -> None:
    error = RouteRefused(400, "no")
    assert (error.status, error.text, error.error) == (400, "no", "http_request_error")
    assert str(error) == "no"
    assert RouteRefused(503, "no", "proxy_internal_response").error == "proxy_internal_response"


def test_an_unavailable_upstream_has_a_reason() -> None:
    error = UpstreamUnavailable(UnavailableReason.REFUSED, "no")
    assert (error.reason, error.text, error.retryable) == (UnavailableReason.REFUSED, "no", False)
    assert str(error) == "no"
    assert UpstreamUnavailable(UnavailableReason.RESOURCE_LIMIT, "no", True).retryable


@pytest.mark.parametrize(
    "error",
    [
        ConfigError("a", "b"),
        CertificateError("a", "b"),
        ListenError("a", "b"),
        RouteRefused(400, "a"),
        UpstreamUnavailable(UnavailableReason.LOOP, "a"),
    ],
)
def test_all_have_the_same_base_class(error: CmuxProxyError) -> None:
    assert isinstance(error, CmuxProxyError)
