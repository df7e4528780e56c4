"""The forms of a request target, Host and Expect (RFC 9112 section 3.2, RFC 9110 10.1.1)."""

import pytest

from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.head import RequestHead
from cmux_proxy.http1.request_target import (
    check_authority_form,
    check_expectation,
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


def test_http10_may_go_without() -> None:
    check_host(request(version=b"1.0"))


# Expect


@pytest.mark.parametrize("value", [b"100-continue", b"100-CONTINUE", b" 100-continue\t"])
def test_the_one_expectation_may_be_met(value: bytes) -> None:
    check_expectation(request(fields=b"Expect:" + value + b"\r\n"))
    check_expectation(request())


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([b""], None),
        ([b" ,\t,"], None),
        ([b"", b""], None),
        ([b"100-Continue"], b"100-Continue"),
        ([b"", b"100-continue"], b"100-continue"),
        ([b"100-continue", b"100-CONTINUE", b""], b"100-continue"),
        ([b"100-continue,100-continue"], b"100-continue"),
        ([b"100-continue, x"], b"100-continue, x"),
        ([b"x", b"100-continue"], b"x, 100-continue"),
        ([b"a b"], b"a b"),
    ],
)
def test_an_expectation_counts_once_and_an_empty_one_is_none(
    lines: list[bytes], expected: bytes | None
) -> None:
    fields = b"".join(b"Expect: " + line + b"\r\n" for line in lines)
    assert request(fields=fields).fields.expect == expected


@pytest.mark.parametrize("value", [b"200-ok", b"100-continue, x", b"100-continue;a=b", b";", b'""'])
def test_any_other_expectation_cannot(value: bytes) -> None:
    with pytest.raises(BadMessage) as caught:
        check_expectation(request(fields=b"Expect: " + value + b"\r\n"))
    assert caught.value.status == 417
    assert reason(caught) == "only the expectation 100-continue can be met"


def test_an_expectation_of_http10_means_nothing() -> None:
    check_expectation(request(fields=b"Expect: x\r\n", version=b"1.0"))


# What travels in place of the target


@pytest.mark.parametrize("target", [b"/", b"//a/", b"/*", b"/http://a/", b"/%2e%2E?a#"[:-1]])
def test_a_path_travels_as_it_is(target: bytes) -> None:
    assert forward_target(request(target)) is None


def test_an_asterisk_travels_with_options_only() -> None:
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
    to = forward_target(request(target, method))
    assert to is not None
    assert (to.path, to.authority) == (path, authority)


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
def test_connect_takes_host_and_port(target: bytes) -> None:
    check_authority_form(request(target, b"CONNECT"))


@pytest.mark.parametrize("target", [b"/", b"a", b"a:", b":1", b"*", b"http://a:1/", b"u@a:1"])
def test_connect_takes_nothing_else(target: bytes) -> None:
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
