"""curl as an HTTP/2 client: by prior knowledge, and by ALPN over TLS."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cmux_proxy import Tls
from tests.helpers.origins import (
    chunked,
    echo,
    fixed_length,
    http_response,
    interim,
    origin,
    responding,
    until_close,
)
from tests.helpers.proxies import local_config
from tests.helpers.script import Stage, head, stage
from tests.helpers.tls import leaf, write_authority, write_pem
from tests.helpers.tools import Finished, finish, tool
from tests.helpers.wire import closed_port

BODY = bytes(range(256)) * 1000


class Curl:
    """Runs curl against the proxy of a stage.

    With prior knowledge, curl 7.88 fails at its second request on a connection, and where the
    response comes before the end of an upload, with other servers too.
    """

    def __init__(self, on: Stage, scheme: str, *flags: str) -> None:
        self.on = on
        self._scheme = scheme
        self._flags = flags

    def url(self, path: str = "/") -> str:
        """Return a URL at the proxy."""
        return f"{self._scheme}://{self.on.address}{path}"

    async def __call__(self, port: int, *arguments: str, stdin: bytes = b"") -> Finished:
        """Run it, routed to a port; fail unless it succeeds."""
        route = f"X-Cmux-Port-Internal: {port}"
        common = ("-q", "-sS", "--noproxy", "*", "-H", route)
        result = await finish(tool("curl"), *common, *self._flags, *arguments, stdin=stdin)
        assert (result.status, result.errors) == (0, b"")
        return result


@pytest.fixture(params=["prior knowledge", "TLS"])
def over(request: pytest.FixtureRequest) -> str:
    """Return how the client comes to HTTP/2."""
    return str(request.param)


@contextlib.asynccontextmanager
async def curl_stage(folder: Path, over: str) -> AsyncIterator[Curl]:
    """Start a proxy that curl reaches in this way."""
    if over == "prior knowledge":
        async with stage() as on:
            yield Curl(on, "http", "--http2-prior-knowledge")
        return
    cert, key = write_pem(folder, "a", leaf("127.0.0.1"))
    async with stage(local_config(tls=Tls(certs=[cert], keys=[key]))) as on:
        yield Curl(on, "https", "--http2", "--cacert", write_authority(folder))


async def test_a_request_and_its_response(tmp_path: Path, over: str) -> None:
    async with origin(responding(echo)) as upstream, curl_stage(tmp_path, over) as curl:
        result = await curl(upstream.port, "-i", curl.url("/a%20b?c=d"))
        assert result.out == (
            b"HTTP/2 200 \r\nx-method: GET\r\nx-target: /a%20b?c=d\r\ncontent-length: 0\r\n\r\n"
        )
        [request] = upstream.requests
        assert request.start == ["GET", "/a%20b?c=d", "HTTP/1.1"]
        assert [name for name, _value in request.fields] == ["host", "user-agent", "accept"]
        assert request.field("host") == str(curl.on.address)


async def test_urls_share_a_connection_one_by_one_and_at_once(tmp_path: Path) -> None:
    async with origin(responding(echo)) as upstream, curl_stage(tmp_path, "TLS") as curl:
        for flags in ((), ("-Z", "--no-progress-meter")):
            urls = [curl.url(f"/{number}") for number in range(20)]
            result = await curl(upstream.port, *flags, "-w", "%{num_connects}", *urls)
            assert sorted(result.out) == sorted(b"1" + b"0" * 19)
        targets = sorted(request.target for request in upstream.requests)
        assert targets == sorted(f"/{number}" for number in range(20) for _ in range(2))


async def test_downloads_with_and_without_a_length(tmp_path: Path, over: str) -> None:
    pieces = [BODY[:1], BODY[1:100_000], BODY[100_000:]]
    async with curl_stage(tmp_path, over) as curl:
        for behaviour in (fixed_length(BODY), chunked(pieces), until_close(pieces)):
            async with origin(behaviour) as upstream:
                result = await curl(upstream.port, "-w", "%{http_version}", curl.url())
                assert result.out == BODY + b"2"


async def test_trailers_are_shown(tmp_path: Path, over: str) -> None:
    behaviour = chunked([b"body"], "Sum: 1", "Other: 2")
    async with origin(behaviour) as upstream, curl_stage(tmp_path, over) as curl:
        result = await curl(upstream.port, "-i", "-H", "TE: trailers", curl.url())
        assert result.out == b"HTTP/2 200 \r\n\r\nbodysum: 1\r\nother: 2\r\n"
        assert upstream.requests[0].field("te") == "trailers"


async def test_uploads_with_and_without_a_length(tmp_path: Path, over: str) -> None:
    (tmp_path / "body").write_bytes(BODY)
    async with origin(responding(echo)) as upstream, curl_stage(tmp_path, over) as curl:
        result = await curl(upstream.port, "--data-binary", f"@{tmp_path}/body", curl.url())
        assert result.out == BODY
        result = await curl(upstream.port, "-T", "-", curl.url("/put"), stdin=BODY)
        assert result.out == BODY
        posted, put = upstream.requests
        assert (posted.method, posted.field("content-length")) == ("POST", "256000")
        assert (put.method, put.field("transfer-encoding")) == ("PUT", "chunked")


async def test_interim_responses_are_shown(tmp_path: Path, over: str) -> None:
    hints = head("HTTP/1.1 103 Early Hints", "Link: </a.css>; rel=preload")
    behaviour = interim([hints], http_response(b"ok"))
    async with origin(behaviour) as upstream, curl_stage(tmp_path, over) as curl:
        result = await curl(upstream.port, "-i", curl.url())
        assert result.out == (
            b"HTTP/2 103 \r\nlink: </a.css>; rel=preload\r\n\r\n"
            b"HTTP/2 200 \r\ncontent-length: 2\r\n\r\nok"
        )


async def test_head_has_no_body(tmp_path: Path, over: str) -> None:
    behaviour = responding(lambda _asked: http_response(BODY))
    async with origin(behaviour) as upstream, curl_stage(tmp_path, over) as curl:
        result = await curl(upstream.port, "-I", curl.url())
        assert result.out == b"HTTP/2 200 \r\ncontent-length: 256000\r\n\r\n"


async def test_an_error_of_the_proxy_is_one_readable_line(tmp_path: Path, over: str) -> None:
    with closed_port() as port:
        async with curl_stage(tmp_path, over) as curl:
            result = await curl(port, "-i", curl.url())
            fields, _blank, body = result.out.decode().partition("\r\n\r\n")
            assert fields.startswith("HTTP/2 502 \r\n")
            assert "\r\nproxy-status: cmux-proxy; error=connection_refused\r\n" in fields
            assert body == (
                f"nothing listens on 127.0.0.1:{port}; start the service or check the port\n"
            )
