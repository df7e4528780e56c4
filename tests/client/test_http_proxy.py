"""The HTTP proxy in front of a cmux-proxy: its variables, the request and the response."""

import pytest

from cmux_proxy.client.http_proxy import HttpProxy, HttpProxyError, http_proxy_for, is_excepted
from cmux_proxy.client.proxy_url import ProxyUrl
from tests.helpers.script import head

HTTP = ProxyUrl("vm", 8080, False)
HTTPS = ProxyUrl("edge.example", 443, True)


@pytest.mark.parametrize(
    ("url", "variables", "expected"),
    [
        (HTTP, {}, None),
        (HTTP, {"http_proxy": ""}, None),
        (HTTP, {"http_proxy": "http://p:3128"}, ("p", 3128, "http_proxy")),
        (HTTP, {"http_proxy": "http://p:3128/"}, ("p", 3128, "http_proxy")),
        (HTTP, {"http_proxy": "p"}, ("p", 1080, "http_proxy")),
        (HTTP, {"http_proxy": "p:80"}, ("p", 80, "http_proxy")),
        (HTTP, {"http_proxy": "http://[::1]:80"}, ("::1", 80, "http_proxy")),
        (HTTP, {"HTTP_PROXY": "http://p:3128"}, None),
        (HTTP, {"https_proxy": "p", "HTTPS_PROXY": "p"}, None),
        (HTTP, {"ALL_PROXY": "http://a", "all_proxy": "http://b"}, ("b", 1080, "all_proxy")),
        (HTTP, {"ALL_PROXY": "http://a"}, ("a", 1080, "ALL_PROXY")),
        (HTTP, {"all_proxy": "http://a", "http_proxy": "http://b"}, ("b", 1080, "http_proxy")),
        (HTTP, {"http_proxy": "p", "no_proxy": "vm"}, None),
        (HTTP, {"http_proxy": "p", "no_proxy": "a", "NO_PROXY": "vm"}, ("p", 1080, "http_proxy")),
        (HTTP, {"http_proxy": "p", "no_proxy": "", "NO_PROXY": "vm"}, None),
        (HTTPS, {"http_proxy": "http://p"}, None),
        (HTTPS, {"HTTPS_PROXY": "http://p"}, ("p", 1080, "HTTPS_PROXY")),
        (HTTPS, {"HTTPS_PROXY": "http://p", "https_proxy": "http://q"}, ("q", 1080, "https_proxy")),
        (HTTPS, {"HTTPS_PROXY": "socks5://p", "NO_PROXY": ".example"}, None),
        (ProxyUrl("127.1.2.3", 80, False), {"http_proxy": "p"}, None),
        (ProxyUrl("::1", 80, False), {"http_proxy": "p"}, None),
        (ProxyUrl("localhost", 80, False), {"http_proxy": "p"}, None),
        (ProxyUrl("3000.localhost", 80, False), {"http_proxy": "p"}, None),
        (ProxyUrl("fe80::1%lo", 80, False), {"http_proxy": "p"}, None),
    ],
)
def test_variables_are_used_like_curl_and_never_for_this_machine(
    url: ProxyUrl, variables: dict[str, str], expected: tuple[str, int, str] | None
) -> None:
    assert http_proxy_for(url, variables) == (None if expected is None else HttpProxy(*expected))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("socks5h://p:1080", "names a proxy that speaks socks5h, and only http:// is supported"),
        ("https://p", "names a proxy that speaks https, and only http:// is supported"),
        ("http://", "is not the URL of a proxy like http://host:3128"),
        ("http://p:x", "is not the URL of a proxy like http://host:3128"),
        ("http://p:0", "is not the URL of a proxy like http://host:3128"),
        ("http://a..b", "is not the URL of a proxy like http://host:3128"),
        ("http://[::1", "is not the URL of a proxy like http://host:3128"),
    ],
)
def test_a_bad_variable_is_one_line_that_names_it(value: str, expected: str) -> None:
    with pytest.raises(HttpProxyError) as caught:
        http_proxy_for(HTTP, {"all_proxy": value})
    assert str(caught.value) == f"all_proxy {expected}; no_proxy=vm bypasses it"


@pytest.mark.parametrize(
    ("host", "exceptions", "expected"),
    [
        ("vm", "*", True),
        ("vm", "a,*", False),
        ("vm.example", "example", True),
        ("vm.example", ".example", True),
        ("vm.example", "Example.", True),
        ("VM.example.", "example", True),
        ("vmexample", "example", False),
        ("vm", "a, b\tvm", True),
        ("vm", "", False),
        ("vm", ".", False),
        ("10.1.2.3", "10.0.0.0/8", True),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3", "2.3", False),
        ("10.1.2.3", "10.1.2.30", False),
        ("fd00::7", "fd00::/8", True),
        ("fd00::7", "[fd00::7]", True),
        ("fd00::7", "10.0.0.0/8,example", False),
    ],
)
def test_exceptions_are_names_domains_addresses_and_networks(
    host: str, exceptions: str, expected: bool
) -> None:
    assert is_excepted(host, exceptions) is expected


def test_the_request_for_a_tunnel_has_credentials() -> None:
    plain = http_proxy_for(HTTP, {"http_proxy": "http://p"})
    assert plain is not None
    assert plain.connect_request(HTTP) == head("CONNECT vm:8080 HTTP/1.1", "Host: vm:8080")
    known = http_proxy_for(HTTP, {"http_proxy": "http://me:pass%20word@p"})
    assert known is not None
    assert known.connect_request(ProxyUrl("fd00::7", 80, False)) == head(
        "CONNECT [fd00::7]:80 HTTP/1.1",
        "Host: [fd00::7]:80",
        "Proxy-Authorization: Basic bWU6cGFzcyB3b3Jk",
    )
    assert "pass" not in f"{known}"


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        ("HTTP/1.1 403 Forbidden", "p:80 (v) opens no tunnel to http://vm:8080: 403 Forbidden"),
        ("HTTP/1.0 407 \x1b[2J", "p:80 (v) opens no tunnel to http://vm:8080: 407 ?[2J"),
        ("SSH-2.0-x", "p:80 (v) does not respond like an HTTP proxy"),
        ("", "p:80 (v) does not respond like an HTTP proxy"),
    ],
)
def test_a_refusal_names_the_http_proxy_and_how_to_bypass_it(response: str, expected: str) -> None:
    with pytest.raises(HttpProxyError) as caught:
        HttpProxy("p", 80, "v").check_response(HTTP, head(response))
    assert str(caught.value) == f"{expected}; no_proxy=vm bypasses it"


def test_a_length_in_the_response_is_ignored() -> None:
    HttpProxy("p", 80, "v").check_response(HTTP, head("HTTP/1.1 200 OK", "Content-Length: 0"))
