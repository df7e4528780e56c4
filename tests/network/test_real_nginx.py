"""nginx as the upstream."""

import asyncio
import contextlib
import gzip
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.helpers.messages import Message, Reader
from tests.helpers.nginx import nginx
from tests.helpers.origins import chunk
from tests.helpers.script import Stage, head, stage
from tests.helpers.timing import LATER, later
from tests.helpers.wire import Wire

FILE = b"".join(b"line %d\n" % number for number in range(20_000))

CONFIG = """
daemon off;
worker_processes 1;
{user}
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    types {{ text/plain txt; text/html html; }}
    server {{
        listen 127.0.0.1:{port};
        root {folder}/files;
        keepalive_requests 1000;
        port_in_redirect off;
        location /gzip/ {{ alias {folder}/files/; gzip on; gzip_min_length 1; gzip_types *; }}
        location /ssi/ {{ alias {folder}/files/; ssi on; }}
        location /small/ {{ dav_methods PUT; client_max_body_size 1k; }}
        location /large/ {{
            dav_methods PUT; create_full_put_path on; client_max_body_size 0;
        }}
        location /moved/ {{ return 301 /elsewhere; }}
        location /once/ {{ alias {folder}/files/; keepalive_timeout 0; }}
    }}
}}
"""


@contextlib.asynccontextmanager
async def site(folder: Path) -> AsyncIterator[int]:
    """Run nginx with some files; return its port."""
    files = folder / "files"
    files.mkdir()
    (files / "file.txt").write_bytes(FILE)
    (files / "page.html").write_text('<p><!--#echo var="host" --></p>\n' * 1000)
    async with nginx(folder, CONFIG) as port:
        yield port


class NginxClient:
    """A connection to the proxy; all its requests are for one port."""

    def __init__(self, wire: Wire, port: int) -> None:
        self.wire = wire
        self._reader = Reader(wire)
        self.route = f"X-Cmux-Port-Internal: {port}"

    async def request(self, line: str, *fields: str, body: bytes = b"") -> Message:
        """Send a request and return its response."""
        await self.wire.send(head(f"{line} HTTP/1.1", "Host: a.test", self.route, *fields) + body)
        return await self.response(line.partition(" ")[0])

    async def response(self, method: str = "GET") -> Message:
        """Return the next response."""
        return await later(self._reader.response(method))


@contextlib.asynccontextmanager
async def nginx_client(folder: Path) -> AsyncIterator[tuple[NginxClient, Stage]]:
    """Run nginx and a proxy, and connect to the proxy."""
    async with site(folder) as port, stage() as on:
        with await Wire.to(on.address.host, on.address.port) as wire:
            yield NginxClient(wire, port), on


async def test_files_are_served_on_one_connection(tmp_path: Path) -> None:
    async with nginx_client(tmp_path) as (client, _on):
        for _ in range(5):
            response = await client.request("GET /file.txt")
            assert (response.status, response.body) == (200, FILE)
            assert response.field("connection") is None
            assert (response.field("server") or "").startswith("nginx")
        missing = await client.request("GET /missing")
        assert missing.status == 404
        assert b"nginx" in missing.body
        assert (await client.request("GET /moved/")).field("location") == "http://a.test/elsewhere"


async def test_a_response_that_is_compressed_on_the_fly_is_chunked(tmp_path: Path) -> None:
    async with nginx_client(tmp_path) as (client, _on):
        for _ in range(2):
            response = await client.request("GET /gzip/file.txt", "Accept-Encoding: gzip")
            assert response.field("transfer-encoding") == "chunked"
            assert response.field("content-encoding") == "gzip"
            assert gzip.decompress(response.body) == FILE


async def test_a_generated_response_is_chunked(tmp_path: Path) -> None:
    async with nginx_client(tmp_path) as (client, _on):
        response = await client.request("GET /ssi/page.html")
        assert response.field("transfer-encoding") == "chunked"
        assert response.body == b"<p>a.test</p>\n" * 1000


async def test_a_chunked_response_is_decoded_for_an_http10_client(tmp_path: Path) -> None:
    async with site(tmp_path) as port, stage() as on:
        with await Wire.to(on.address.host, on.address.port) as wire:
            route = f"X-Cmux-Port-Internal: {port}"
            await wire.send(head("GET /ssi/page.html HTTP/1.0", "Host: a.test", route))
            response = await later(Reader(wire).response())
            assert response.field("transfer-encoding") is None
            assert response.body == b"<p>a.test</p>\n" * 1000


async def test_a_range_is_served(tmp_path: Path) -> None:
    async with nginx_client(tmp_path) as (client, _on):
        response = await client.request("GET /file.txt", "Range: bytes=1000-1999")
        assert (response.status, response.body) == (206, FILE[1000:2000])
        assert response.field("content-range") == f"bytes 1000-1999/{len(FILE)}"
        several = await client.request("GET /file.txt", "Range: bytes=0-9,20-29")
        assert several.status == 206
        assert FILE[:10] in several.body
        assert FILE[20:30] in several.body
        beyond = await client.request("GET /file.txt", f"Range: bytes={len(FILE)}-")
        assert beyond.status == 416


async def test_an_unchanged_file_is_a_304(tmp_path: Path) -> None:
    async with nginx_client(tmp_path) as (client, _on):
        tag = (await client.request("GET /file.txt")).field("etag")
        response = await client.request("GET /file.txt", f"If-None-Match: {tag}")
        assert (response.status, response.body) == (304, b"")
        full = await client.request("HEAD /file.txt")
        assert (full.status, full.field("content-length")) == (
            200,
            str(len(FILE)),
        )
        assert (await client.request("GET /file.txt")).body == FILE


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_an_upload_in_flight_is_refused_with_413(tmp_path: Path, framing: str) -> None:
    async with nginx_client(tmp_path) as (client, _on):
        field = "Content-Length: 5000000" if framing == "length" else "Transfer-Encoding: chunked"
        await client.wire.send(head("PUT /small/x HTTP/1.1", "Host: a.test", client.route, field))
        data = bytes(10_000) if framing == "length" else b"2710\r\n" + bytes(10_000) + b"\r\n"
        sending = asyncio.get_running_loop().create_task(client.wire.send(data * 500))
        response = await client.response("PUT")
        assert response.status == 413
        await later(sending)


async def test_an_upload_that_expects_100_is_refused_without_its_body(tmp_path: Path) -> None:
    async with nginx_client(tmp_path) as (client, _on):
        response = await client.request(
            "PUT /small/x", "Content-Length: 5000000", "Expect: 100-continue"
        )
        assert response.status == 413


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_an_upload_is_stored_unchanged(tmp_path: Path, framing: str) -> None:
    async with nginx_client(tmp_path) as (client, _on):
        for expect in ([], ["Expect: 100-continue"]):
            if framing == "length":
                fields, body = [f"Content-Length: {len(FILE)}"], FILE
            else:
                fields = ["Transfer-Encoding: chunked"]
                body = chunk(FILE[:100]) + chunk(FILE[100:]) + b"0\r\n\r\n"
            stored = await client.request("PUT /large/copy.txt", *fields, *expect, body=body)
            assert stored.status in (201, 204)
            assert (tmp_path / "files/large/copy.txt").read_bytes() == FILE
            assert (await client.request("GET /large/copy.txt")).body == FILE


async def test_pipelined_requests_get_their_responses_in_order(tmp_path: Path) -> None:
    async with nginx_client(tmp_path) as (client, _on):
        lines = ["GET /file.txt", "GET /ssi/page.html", "HEAD /file.txt", "GET /missing"]
        await client.wire.send(
            b"".join(head(f"{line} HTTP/1.1", "Host: a.test", client.route) for line in lines * 5)
        )
        for _ in range(5):
            assert (await client.response()).body == FILE
            assert (await client.response()).body == b"<p>a.test</p>\n" * 1000
            assert (await client.response("HEAD")).status == 200
            assert (await client.response()).status == 404


async def test_an_upstream_that_closes_after_each_response_does_not_close_the_client(
    tmp_path: Path,
) -> None:
    async with nginx_client(tmp_path) as (client, _on):
        for _ in range(5):
            response = await client.request("GET /once/file.txt")
            assert (response.status, response.body) == (200, FILE)
            assert response.field("connection") is None


async def test_many_concurrent_clients_get_their_own_responses(tmp_path: Path) -> None:
    async with site(tmp_path) as port, stage() as on:

        async def fetch(number: int) -> None:
            with await Wire.to(on.address.host, on.address.port) as wire:
                client = NginxClient(wire, port)
                for _ in range(5):
                    start = number * 100
                    response = await client.request(
                        "GET /file.txt", f"Range: bytes={start}-{start + 99}"
                    )
                    assert response.body == FILE[start : start + 100]

        async with asyncio.timeout(LATER):
            await asyncio.gather(*(fetch(number) for number in range(30)))
