"""curl as the client."""

from pathlib import Path

import pytest

from tests.helpers.origins import (
    OriginConnection,
    chunked,
    early_response,
    echo,
    http_response,
    origin,
    responding,
    until_close,
)
from tests.helpers.script import Stage, head, stage
from tests.helpers.tools import Finished, finish, tool
from tests.helpers.wire import closed_port

BODY = bytes(range(256)) * 1000


async def curl(on: Stage, port: int, *arguments: str, stdin: bytes = b"") -> Finished:
    """Run curl against the proxy, routed to a port."""
    route = f"X-Cmux-Port-Internal: {port}"
    result = await finish(
        tool("curl"), "-q", "-sS", "--noproxy", "", "-H", route, *arguments, stdin=stdin
    )
    assert result.errors == b""
    return result


def url(on: Stage, path: str = "/") -> str:
    """Return a URL at the proxy."""
    return f"http://{on.address}{path}"


async def test_get() -> None:
    async with origin(responding(echo)) as upstream, stage() as on:
        result = await curl(on, upstream.port, "-i", url(on, "/a%20b?c=d"))
        assert (result.status, result.out) == (
            0,
            b"HTTP/1.1 200 OK\r\nX-Method: GET\r\nX-Target: /a%20b?c=d\r\n"
            b"Content-Length: 0\r\n\r\n",
        )
        [request] = upstream.requests
        names = [name for name, _value in request.fields]
        assert names == ["host", "user-agent", "accept"]
        assert request.field("host") == str(on.address)


async def test_several_urls_share_a_connection() -> None:
    async with origin(responding(echo)) as upstream, stage() as on:
        urls = [url(on, f"/{number}") for number in range(5)]
        result = await curl(on, upstream.port, "-w", "%{num_connects}", *urls)
        assert result.out == b"10000"


async def granting_http2(connection: OriginConnection) -> None:
    """Grant an upgrade to HTTP/2, send nothing after it, and echo other requests."""
    while (request := await connection.request()) is not None:
        if request.field("upgrade") is not None:
            await connection.send(head("HTTP/1.1 101 Go", "Connection: Upgrade", "Upgrade: h2c"))
            return
        await connection.send(echo(request))


async def test_http2_by_upgrade_stays_http1_and_every_request_reaches_its_own_port() -> None:
    async with origin(granting_http2) as first, origin(granting_http2) as second, stage() as on:
        arguments = []
        for port, path in ((first.port, "/1"), (second.port, "/2"), (first.port, "/3")):
            route = f"X-Cmux-Port-Internal: {port}"
            arguments += ["-q", "-sS", "--noproxy", "", "--http2", "-H", route, "-w",
                          "%{http_version} %{num_connects}\n", url(on, path), "--next"]  # fmt: skip
        result = await finish(tool("curl"), *arguments[:-1])
        assert (result.status, result.out, result.errors) == (0, b"1.1 1\n1.1 0\n1.1 0\n", b"")
        assert [request.target for request in first.requests] == ["/1", "/3"]
        [request] = second.requests
        assert request.target == "/2"
        names = [name for name, _value in request.fields]
        assert names == ["host", "user-agent", "accept"]


async def test_head() -> None:
    async with origin(responding(lambda _asked: http_response(BODY))) as upstream, stage() as on:
        result = await curl(on, upstream.port, "-I", url(on))
        assert result.out == b"HTTP/1.1 200 OK\r\nContent-Length: 256000\r\n\r\n"


@pytest.mark.parametrize("version", ["--http1.1", "--http1.0"])
async def test_chunked_and_until_close_download(version: str) -> None:
    pieces = [BODY[:1], BODY[1:100_000], BODY[100_000:]]
    async with (
        origin(chunked(pieces, "Sum: 1")) as first,
        origin(until_close(pieces)) as second,
        stage() as on,
    ):
        for upstream in (first, second):
            result = await curl(on, upstream.port, version, url(on))
            assert (result.status, result.out) == (0, BODY)


async def test_http10() -> None:
    async with origin(responding(echo)) as upstream, stage() as on:
        result = await curl(on, upstream.port, "-i", "--http1.0", "-d", "body", url(on))
        assert result.out == (
            b"HTTP/1.1 200 OK\r\nX-Method: POST\r\nX-Target: /\r\nContent-Length: 4\r\n"
            b"Connection: close\r\n\r\nbody"
        )
        assert upstream.requests[0].start == ["POST", "/", "HTTP/1.1"]


async def test_upload_of_known_length(tmp_path: Path) -> None:
    (tmp_path / "body").write_bytes(BODY)
    async with origin(responding(echo)) as upstream, stage() as on:
        result = await curl(
            on, upstream.port, "-H", "Expect:", "--data-binary", f"@{tmp_path}/body", url(on)
        )
        assert (result.status, result.out) == (0, BODY)
        assert upstream.requests[0].field("content-length") == "256000"


async def test_upload_that_waits_for_100_continue(tmp_path: Path) -> None:
    (tmp_path / "body").write_bytes(BODY)
    async with origin(responding(echo)) as upstream, stage() as on:
        result = await curl(
            on,
            upstream.port,
            *("-H", "Expect: 100-continue", "--expect100-timeout", "3600"),
            *("--data-binary", f"@{tmp_path}/body", url(on)),
        )
        assert (result.status, result.out) == (0, BODY)
        assert upstream.requests[0].field("expect") == "100-continue"


async def test_chunked_upload() -> None:
    async with origin(responding(echo)) as upstream, stage() as on:
        result = await curl(
            on,
            upstream.port,
            *("-H", "Transfer-Encoding: chunked", "-H", "Expect:", "-T", "-", url(on, "/put")),
            stdin=BODY,
        )
        assert (result.status, result.out) == (0, BODY)
        assert upstream.requests[0].method == "PUT"
        assert upstream.requests[0].field("transfer-encoding") == "chunked"


async def test_absolute_form_by_the_proxy_flag() -> None:
    async with origin(responding(echo)) as upstream, stage() as on:
        result = await curl(on, upstream.port, "-x", url(on), "-i", "http://some.test:81/a?b")
        assert b"X-Target: /a?b\r\n" in result.out
        [request] = upstream.requests
        assert request.field("host") == "some.test:81"
        assert request.field("proxy-connection") is None


async def test_connect_by_the_tunnel_flag() -> None:
    async with origin(responding(echo)) as upstream, stage() as on:
        route = f"X-Cmux-Port-Internal: {upstream.port}"
        result = await finish(
            tool("curl"),
            *("-q", "-sS", "-i", "-p", "-x", url(on), "--noproxy", "", "--proxy-header", route),
            *("--suppress-connect-headers", "-d", "through", "http://some.test/a"),
        )
        assert (result.status, result.errors) == (0, b"")
        assert result.out.endswith(b"\r\n\r\nthrough")
        # Bytes in the tunnel are not parsed, so no field is removed.
        assert upstream.requests[0].field("host") == "some.test"


async def test_connect_to_a_closed_port_is_refused() -> None:
    with closed_port() as port:
        async with stage() as on:
            result = await finish(
                tool("curl"),
                *("-q", "-sS", "-p", "-x", url(on), "--noproxy", "", "http://some.test/"),
                *("--proxy-header", f"X-Cmux-Port-Internal: {port}"),
            )
            assert result.status == 56
            assert b"502" in result.errors


async def test_an_error_is_one_readable_line() -> None:
    with closed_port() as port:
        async with stage() as on:
            result = await curl(on, port, "-w", "%{http_code}", url(on))
            message = (
                f"nothing listens on 127.0.0.1:{port}; start the service or check the port\n502"
            )
            assert result.out.decode() == message


async def test_an_upload_that_is_refused_early_gets_the_refusal(tmp_path: Path) -> None:
    (tmp_path / "body").write_bytes(BODY * 20)
    large = http_response(b"too large", status="413 Content Too Large")
    async with origin(early_response(large)) as upstream, stage() as on:
        result = await curl(
            on, upstream.port, "-H", "Expect:", "--data-binary", f"@{tmp_path}/body", url(on)
        )
        assert result.out == b"too large"


async def test_a_large_upload_to_a_closed_port_gets_the_error(tmp_path: Path) -> None:
    (tmp_path / "body").write_bytes(BODY * 20)
    with closed_port() as port:
        async with stage() as on:
            result = await curl(
                on, port, "-w", "%{http_code}", "--data-binary", f"@{tmp_path}/body", url(on)
            )
            assert result.out.endswith(b"\n502")


async def test_only_the_request_reaches_an_upstream() -> None:
    async with origin(responding(echo)) as upstream, stage() as on:
        await curl(on, upstream.port, "-H", "User-Agent:", "-H", "Accept:", "-H", "A: b", url(on))
        assert upstream.connections[0].received == head(
            "GET / HTTP/1.1", f"Host: {on.address}", "A: b"
        )
