"""nghttp and h2load, the clients of nghttp2."""

import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest

from cmux_proxy import Tls
from tests.helpers.nginx import nginx
from tests.helpers.origins import chunked, echo, http_response, interim, origin, responding
from tests.helpers.proxies import local_config, proxy_process
from tests.helpers.script import Stage, head, stage
from tests.helpers.tls import leaf, write_pem
from tests.helpers.tools import finish, tool

SIZE: Final = 100
# The directories of temporary files are set because the default ones may not exist.
CONFIG: Final = """
daemon off;
worker_processes 1;
error_log {folder}/error.log;
pid {folder}/nginx.pid;
{user}
events {{ }}
http {{
    access_log off;
    keepalive_requests 100000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        root {folder};
    }}
}}
"""


@pytest.fixture(params=["http", "https"])
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@contextlib.asynccontextmanager
async def stage_of(scheme: str, folder: Path) -> AsyncIterator[Stage]:
    """Start a proxy, with TLS for https."""
    if scheme == "http":
        async with stage() as on:
            yield on
        return
    cert, key = write_pem(folder, "a", leaf("127.0.0.1"))
    async with stage(local_config(tls=Tls(certs=[cert], keys=[key]))) as on:
        yield on


async def nghttp(on: Stage, port: int, scheme: str, *arguments: str, paths: list[str]) -> str:
    """Run nghttp for some paths at once; return its output, without colours."""
    route = f"-HX-Cmux-Port-Internal: {port}"
    urls = [f"{scheme}://{on.address}{path}" for path in paths]
    done = await finish(tool("nghttp"), "--no-verify-peer", route, *arguments, *urls)
    output = re.sub(r"\x1b\[[0-9;]*m", "", done.out.decode())
    assert done.status == 0, output
    return output


async def test_urls_at_once_come_on_one_connection(tmp_path: Path, scheme: str) -> None:
    paths = [f"/{number}" for number in range(50)]
    respond = responding(lambda asked: http_response(f"<{asked.target}>".encode()))
    async with origin(respond) as upstream, stage_of(scheme, tmp_path) as on:
        output = await nghttp(on, upstream.port, scheme, paths=paths)
        bodies = re.findall("<(.*?)>", output)
        assert sorted(bodies) == sorted(paths)
        assert sorted(request.target for request in upstream.requests) == sorted(paths)


async def test_an_upload_with_trailers_and_all_parts_of_a_response(
    tmp_path: Path, scheme: str
) -> None:
    (tmp_path / "body").write_bytes(b"x" * 300_000)
    upload = ("-d", str(tmp_path / "body"), "--trailer", "sum: 1", "--no-content-length", "-v")
    async with stage_of(scheme, tmp_path) as on:
        async with origin(responding(echo)) as upstream:
            output = await nghttp(on, upstream.port, scheme, *upload, "-n", paths=["/"])
            received = upstream.connections[0].received
            assert received.endswith(b"\r\n0\r\nsum: 1\r\n\r\n")
            assert upstream.requests[0].body == b"x" * 300_000
            assert "content-length: 300000" in output
        async with origin(chunked([b"body"], "Sum: 2")) as upstream:
            output = await nghttp(on, upstream.port, scheme, "-HTE: trailers", "-v", paths=["/"])
            assert re.search(r"recv \(stream_id=\d+\) sum: 2", output)
        hints = head("HTTP/1.1 103 Early Hints", "Link: </a>")
        async with origin(interim([hints], http_response(b"ok"))) as upstream:
            output = await nghttp(on, upstream.port, scheme, "-v", paths=["/"])
            statuses = re.findall(r"recv \(stream_id=\d+\) :status: (\d+)", output)
            assert statuses == ["103", "200"]


@pytest.mark.hosting
@pytest.mark.parametrize("count", [2_000, pytest.param(10_000, marks=pytest.mark.slow)])
async def test_all_requests_of_h2load_succeed(
    loop_name: str, count: int, tmp_path: Path, scheme: str
) -> None:
    (tmp_path / "a").write_bytes(b"x" * SIZE)
    cert, key = write_pem(tmp_path, "proxy", leaf("127.0.0.1"))
    flags = [] if scheme == "http" else ["--tls-cert", cert, "--tls-key", key]
    async with nginx(tmp_path, CONFIG) as port, proxy_process(loop_name, *flags) as proxy:
        done = await finish(
            tool("h2load"), "-n", str(count), "-c", "4", "-m", "25",
            "-H", f"X-Cmux-Port-Internal: {port}", f"{scheme}://127.0.0.1:{proxy.port}/a",
        )  # fmt: skip
        await proxy.stop()
    output = done.out.decode()
    assert done.status == 0, output
    assert f" {count} done, {count} succeeded, 0 failed, 0 errored, 0 timeout" in output
    assert f"status codes: {count} 2xx, 0 3xx, 0 4xx, 0 5xx" in output
    assert f"({count * SIZE}) data" in output
