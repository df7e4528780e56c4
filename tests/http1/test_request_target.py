"""The forms of a request target, and Host (RFC 9112 section 3.2)."""

import pytest

from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.head import RequestHead
from cmux_proxy.http1.request_target import (
    check_authority_form,
    check_host,
    forward_target,
)
from tests.helpers.judging import request_head


def request(
    target: bytes = b"/", method: bytes = b"GET", fields: bytes = b"", version: bytes = b"1.1"
) -> RequestHead:
    return request_head(b"%b %b HTTP/%b\r\n%b\r\n" % (method, target, version, fields))


def reason(error: pytest.ExceptionInfo[BadMessage]) -> str:
    return error.value.reason


# Host


def test_http11_needs_a_host() -> None:
    check_host(request(fields=b"Host: a\r\n"))
    with pytest.raises(BadMessage) as caught:
        check_host(request())
    assert reason(caught) == "the Host field is missing"


def test_http10_needs_no_host() -> None:
    check_host(request(version=b"1.0"))


# The target to forward


@pytest.mark.parametrize("target", [b"/", b"//a/", b"/*", b"/http://a/", b"/%2e%2E?a#"[:-1]])
def test_a_path_is_forwarded_unchanged(target: bytes) -> None:
    assert forward_target(request(target)) is None


def test_an_asterisk_is_for_options_only() -> None:
    assert forward_target(request(b"*", b"OPTIONS")) is None
    for method in (b"GET", b"options", b"HEAD"):
        with pytest.raises(BadMessage) as caught:
            forward_target(request(b"*", method))
        assert reason(caught) == "the target * is for OPTIONS only"


@pytest.mark.parametrize(
    ("method", "target", "path", "authority"),
    [
        (b"GET", b"http://a/b", b"/b", b"a"),
        (b"GET", b"HTTP://a:80/b?c=/d", b"/b?c=/d", b"a:80"),
        (b"GET", b"http://[::1]:80", b"/", b"[::1]:80"),
        (b"GET", b"http://a?b", b"/?b", b"a"),
        (b"GET", b"http://a/*", b"/*", b"a"),
        (b"OPTIONS", b"http://a", b"*", b"a"),
        (b"OPTIONS", b"http://a/", b"/", b"a"),
        (b"OPTIONS", b"http://a?b", b"/?b", b"a"),
        (b"options", b"http://a", b"/", b"a"),
    ],
)
def test_a_url_becomes_path_and_authority(
    method: bytes, target: bytes, path: bytes, authority: bytes
) -> None:
    forwarded = forward_target(request(target, method))
    assert forwarded is not None
    assert (forwarded.path, forwarded.authority) == (path, authority)


@pytest.mark.parametrize("target", [b"a", b"a:80", b"https://a/", b"http:/a", b"?b", b"**", b"\\"])
def test_any_other_form_is_refused(target: bytes) -> None:
    for method in (b"GET", b"OPTIONS"):
        with pytest.raises(BadMessage) as caught:
            forward_target(request(target, method))
        assert reason(caught) == "the request target is neither a path nor an http:// URL"


@pytest.mark.parametrize("authority", [b"", b"u@a", b"a,b", b"a:b", b"[::1", b"a\\b", b"a:1:2"])
def test_a_url_needs_a_valid_authority(authority: bytes) -> None:
    with pytest.raises(BadMessage) as caught:
        forward_target(request(b"http://" + authority + b"/"))
    assert reason(caught) == "the request target's authority is not a host and an optional port"


# CONNECT


@pytest.mark.parametrize("target", [b"a:443", b"127.0.0.1:1", b"[::1]:65535", b"a.:0"])
def test_connect_needs_host_and_port(target: bytes) -> None:
    check_authority_form(request(target, b"CONNECT"))


@pytest.mark.parametrize("target", [b"/", b"a", b"a:", b":1", b"*", b"http://a:1/", b"u@a:1"])
def test_connect_accepts_no_other_target(target: bytes) -> None:
    with pytest.raises(BadMessage) as caught:
        check_authority_form(request(target, b"CONNECT"))
    assert reason(caught) == "the target of CONNECT is not host:port"


@pytest.mark.parametrize(
    "field",
    [b"Content-Length: 1\r\n", b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding:\r\n"],
)
def test_connect_has_no_body(field: bytes) -> None:
    check_authority_form(request(b"a:1", b"CONNECT", b"Content-Length: 0\r\n"))
    with pytest.raises(BadMessage) as caught:
        check_authority_form(request(b"a:1", b"CONNECT", field))
    assert reason(caught) == "CONNECT has no body"
