"""The forms of a request target and the HTTP version, through real sockets (section 2)."""

import pytest

from tests.helpers.script import ESTABLISHED, ROUTE, head, stage

UNTOUCHED = {
    "a path": "/",
    "a query": "/a?b=c&d",
    "an empty query": "/?",
    "dots": "/a/../b/./c",
    "many slashes": "//a///b",
    "percent encoding": "/%41%2f%2F%00%zz%",
    "a colon": "/a:b",
    "all bytes that RFC 3986 allows": "/-._~!$&'()*+,;=:@/?",
    "bytes that RFC 3986 does not allow": '/"<>[]\\^`{|}',
    "an address in the path": "/http://b.test/c",
    "a query of queries": "/a?b?c=?",
    "8,000 bytes": "/" + "a" * 8000,
}


@pytest.mark.parametrize("target", UNTOUCHED.values(), ids=UNTOUCHED)
async def test_a_target_in_origin_form_is_forwarded_byte_for_byte(target: str) -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(head(f"GET {target} HTTP/1.1", "Host: a", ROUTE))
        await (await on.upstream()).gets(head(f"GET {target} HTTP/1.1", "Host: a"))


@pytest.mark.parametrize(
    ("method", "target", "line", "host"),
    [
        pytest.param("GET", "http://b.test/c?d", "GET /c?d", "b.test", id="path and query"),
        pytest.param("GET", "http://b.test", "GET /", "b.test", id="no path"),
        pytest.param("GET", "http://b.test?q", "GET /?q", "b.test", id="no path but a query"),
        pytest.param("GET", "HTTP://b.test:8080/", "GET /", "b.test:8080", id="port, upper case"),
        pytest.param("GET", "http://[::1]:80/x", "GET /x", "[::1]:80", id="IPv6"),
        pytest.param("GET", "http://b/%7e//", "GET /%7e//", "b", id="nothing is decoded"),
        pytest.param("OPTIONS", "http://b.test", "OPTIONS *", "b.test", id="OPTIONS, no path"),
        pytest.param("OPTIONS", "http://b.test/", "OPTIONS /", "b.test", id="OPTIONS, a path"),
        pytest.param("OPTIONS", "http://b?q", "OPTIONS /?q", "b", id="OPTIONS, only a query"),
    ],
)
async def test_absolute_form_becomes_origin_form_and_its_authority_replaces_host(
    method: str, target: str, line: str, host: str
) -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(head(f"{method} {target} HTTP/1.1", "A: 1", "Host: other", ROUTE, "B: 2"))
        await (await on.upstream()).gets(head(f"{line} HTTP/1.1", f"Host: {host}", "A: 1", "B: 2"))


async def test_the_authority_of_an_absolute_target_does_not_select_the_upstream() -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(head("GET http://127.0.0.1:1/ HTTP/1.1", "Host: 127.0.0.1:1", ROUTE))
        await (await on.upstream()).gets(head("GET / HTTP/1.1", "Host: 127.0.0.1:1"))


async def test_the_asterisk_is_for_options() -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(head("OPTIONS * HTTP/1.1", "Host: a", ROUTE))
        await (await on.upstream()).gets(head("OPTIONS * HTTP/1.1", "Host: a"))


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("GET * HTTP/1.1", "the target * is for OPTIONS only"),
        ("GET a HTTP/1.1", "the request target is neither a path nor an http:// URL"),
        ("GET a.test:80 HTTP/1.1", "the request target is neither a path nor an http:// URL"),
        ("GET https://a/ HTTP/1.1", "the request target is neither a path nor an http:// URL"),
        ("GET http:///a HTTP/1.1", "the request target's authority is not a host"),
        ("GET http://u@a/ HTTP/1.1", "the request target's authority is not a host"),
        ("GET /a#b HTTP/1.1", "the request target has bytes that are not allowed"),
        ("GET /\xe4 HTTP/1.1", "the request target has bytes that are not allowed"),
        ("GET /a b HTTP/1.1", "the request line is not method, target and version"),
        ("GET  / HTTP/1.1", "the request line is not method, target and version"),
        ("GET / HTTP/1.1 ", "the request line is not method, target and version"),
        ("GET /", "the request line is not method, target and version"),
        ("G@T / HTTP/1.1", "the method is not a token"),
        ("GET / http/1.1", "the request line does not end in an HTTP version"),
        ("CONNECT a HTTP/1.1", "the target of CONNECT is not host:port"),
        ("CONNECT /a HTTP/1.1", "the target of CONNECT is not host:port"),
        ("CONNECT a: HTTP/1.1", "the target of CONNECT is not host:port"),
        ("CONNECT :80 HTTP/1.1", "the target of CONNECT is not host:port"),
        ("CONNECT http://a:1/ HTTP/1.1", "the target of CONNECT is not host:port"),
        ("CONNECT a:123456 HTTP/1.1", "the target of CONNECT is not host:port"),
    ],
)
async def test_a_malformed_request_line_gets_400_and_is_not_forwarded(line: str, text: str) -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(head(line, "Host: a", ROUTE))
        message = await client.gets_error(400, "http_request_error", closes=True)
        assert message.startswith(f"bad request: {text}")
        await on.nothing_reached_upstream()


@pytest.mark.parametrize("version", ["0.9", "1.2", "2.0", "3.0", "9.9"])
async def test_another_version_of_http_gets_505(version: str) -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(head(f"GET / HTTP/{version}", "Host: a", ROUTE))
        text = await client.gets_error(505, "http_request_error", closes=True)
        assert text == "bad request: only HTTP/1.0 and HTTP/1.1 are supported"
        await on.nothing_reached_upstream()


@pytest.mark.parametrize(
    ("after", "reason"),
    [
        (b"", "only HTTP/1.0 and HTTP/1.1 are supported"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/2 begins a connection"),
    ],
)
async def test_what_only_resembles_the_preface_of_http2_gets_505(after: bytes, reason: str) -> None:
    async with stage() as on:
        client = await on.client()
        if after:
            await client.says(after)
            await client.gets_error(400, "http_request_error")
        start = b"" if after else b"x"
        await client.says(start + b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        text = await client.gets_error(505, "http_request_error", closes=True)
        assert reason in text


async def test_a_tls_handshake_gets_an_alert_without_certificates() -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        # RFC 8446 section 6: a fatal handshake_failure.
        await client.gets(b"\x15\x03\x01\x00\x02\x02\x28")
        await client.gets_end()


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        pytest.param([], "the Host field is missing", id="missing"),
        pytest.param(["Host: a", "Host: b"], "there is more than one Host field", id="two"),
        pytest.param(["Host: a", "host: a"], "there is more than one Host field", id="the same"),
        pytest.param(["Host:"], "the Host field is not a host", id="empty"),
        pytest.param(["Host: a b"], "the Host field is not a host", id="a blank inside"),
        pytest.param(["Host: a,b"], "the Host field is not a host", id="a list"),
        pytest.param(["Host: a/b"], "the Host field is not a host", id="a path"),
        pytest.param(["Host: u@a"], "the Host field is not a host", id="user information"),
        pytest.param(["Host: a:b"], "the Host field is not a host", id="a port of letters"),
        pytest.param(["Host: [::1"], "the Host field is not a host", id="an open bracket"),
        pytest.param(["Host: http://a"], "the Host field is not a host", id="a URL"),
    ],
)
@pytest.mark.parametrize("line", ["GET / HTTP/1.1", "CONNECT a:1 HTTP/1.1"], ids=["GET", "CONNECT"])
async def test_a_request_without_exactly_one_valid_host_gets_400(
    line: str, fields: list[str], text: str
) -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(head(line, ROUTE, *fields))
        message = await client.gets_error(400, "http_request_error", closes=True)
        assert message.startswith(f"bad request: {text}")
        await on.nothing_reached_upstream()


@pytest.mark.parametrize("host", ["a", "A.Test.", "a:80", "127.0.0.1:1", "[::1]:80", "a_b", "%41"])
async def test_host_is_forwarded_unchanged(host: str) -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(head("GET / HTTP/1.1", ROUTE, f"hOST:  {host} ", "A: b"))
        await (await on.upstream()).gets(head("GET / HTTP/1.1", f"hOST:  {host} ", "A: b"))


@pytest.mark.parametrize("method", ["GET", "get", "PROPFIND", "X-Y_Z!", "A" * 100])
async def test_any_token_is_a_method_and_keeps_its_case(method: str) -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(head(f"{method} /a HTTP/1.1", "Host: a", ROUTE))
        await (await on.upstream()).gets(head(f"{method} /a HTTP/1.1", "Host: a"))


async def test_a_method_like_connect_in_lower_case_is_another_method() -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(head("connect /a HTTP/1.1", "Host: a", ROUTE))
        await (await on.upstream()).gets(head("connect /a HTTP/1.1", "Host: a"))


@pytest.mark.parametrize("authority", ["a:1", "[::1]:443", "127.0.0.1:65535", "a.test:00080"])
async def test_connect_takes_authority_form(authority: str) -> None:
    async with stage() as on:
        client = await on.client()
        await client.says(head(f"CONNECT {authority} HTTP/1.1", "Host: a", ROUTE))
        await on.upstream()
        await client.gets(ESTABLISHED)
