"""CONNECT without the port field, where --connect-by-authority lets its target name the port."""

import asyncio

import pytest

from cmux_proxy import Access, Config, Tunnels
from tests.helpers.h2_peer import H2Peer
from tests.helpers.proxies import local_config
from tests.helpers.script import ESTABLISHED, ROUTE, Stage, head, stage
from tests.helpers.timing import soon
from tests.helpers.tools import finish, tool

AUTHORITY = Tunnels(connect_by_authority=True)


def by_authority(access: Access | None = None) -> Config:
    return local_config(tunnels=AUTHORITY, access=access or Access())


def connect(target: str, *fields: str) -> bytes:
    return head(f"CONNECT {target} HTTP/1.1", f"Host: {target}", *fields)


async def reply(on: Stage, request: bytes) -> bytes:
    client = await on.client()
    await client.says(request)
    return await soon(client.wire.receive())


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "[::1]"])
async def test_the_target_names_the_port(host: str) -> None:
    async with stage(by_authority()) as on:
        client = await on.client()
        await client.says(connect(f"{host}:{on.port}") + b"early")
        upstream = await on.upstream()
        await upstream.gets(b"early")
        await client.gets(ESTABLISHED)


@pytest.mark.parametrize(
    ("version", "fields"),
    [("1.0", []), ("1.0", ["Host: db.example:1"]), ("1.1", ["Host: db.example:1"]),
     ("1.1", ["Host: localhost"])],
    ids=["no host", "1.0", "1.1", "no port"],
)  # fmt: skip
async def test_the_host_field_does_not_matter(version: str, fields: list[str]) -> None:
    async with stage(by_authority()) as on:
        client = await on.client()
        await client.says(head(f"CONNECT localhost:{on.port} HTTP/{version}", *fields))
        await on.upstream()
        await client.gets(ESTABLISHED)


async def test_a_host_field_does_not_stand_for_another_target() -> None:
    async with stage(by_authority()) as on:
        request = head("CONNECT db.example:1 HTTP/1.1", f"Host: localhost:{on.port}")
        assert (await reply(on, request)).startswith(b"HTTP/1.1 403 ")


async def test_the_field_still_decides_where_there_is_one() -> None:
    async with stage(by_authority()) as on:
        client = await on.client()
        await client.says(connect("db.example:1", ROUTE))
        await on.upstream()
        await client.gets(ESTABLISHED)


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("db.example:5432", 403), ("192.0.2.1:80", 403), ("a.localhost:80", 403),
        ("localhost:0", 400), ("localhost:65536", 400), ("localhost:22x", 400),
        ("localhost", 400), ("user@localhost:80", 400),
    ],
)  # fmt: skip
async def test_what_is_refused(target: str, status: int) -> None:
    async with stage(by_authority()) as on:
        assert (await reply(on, connect(target))).startswith(b"HTTP/1.1 %d " % status)
        await on.nothing_reached_upstream()


async def test_it_is_off_unless_asked_for() -> None:
    async with stage() as on:
        response = await reply(on, connect(f"localhost:{on.port}"))
        assert b"missing required header: X-Cmux-Port-Internal" in response


@pytest.mark.parametrize(
    ("access", "status"),
    [(Access(tokens=["secret"]), 407), (Access(allow_ports=["1"]), 403)],
)
async def test_tokens_and_ports_are_judged_as_ever(access: Access, status: int) -> None:
    async with stage(by_authority(access)) as on:
        response = await reply(on, connect(f"localhost:{on.port}"))
        assert response.startswith(b"HTTP/1.1 %d " % status)


async def test_the_proxy_is_no_target_of_its_own() -> None:
    async with stage(by_authority()) as on:
        response = await reply(on, connect(f"localhost:{on.address.port}"))
        assert response.startswith(b"HTTP/1.1 508 ")


async def test_an_ordinary_request_is_not_routed_by_its_target() -> None:
    async with stage(by_authority()) as on:
        request = head(f"GET http://localhost:{on.port}/ HTTP/1.1", f"Host: localhost:{on.port}")
        assert (await reply(on, request)).startswith(b"HTTP/1.1 400 ")


async def test_curl_takes_it_for_its_proxy() -> None:
    async with stage(by_authority()) as on:
        url = f"http://localhost:{on.port}/through"
        proxy = f"http://127.0.0.1:{on.address.port}"
        curl = finish(tool("curl"), "-sS", "-p", "-x", proxy, url)
        done = asyncio.get_running_loop().create_task(curl)
        upstream = await on.upstream()
        request = await soon(upstream.wire.receive())
        assert request.startswith(b"GET /through HTTP/1.1\r\n")
        await upstream.says(head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok")
        assert (await done).out == b"ok"


async def test_it_is_the_same_over_http2() -> None:
    async with stage(by_authority()) as on:
        client = await H2Peer.to(on.address.port)
        for authority, status in [
            (f"localhost:{on.port}", "200"), ("db.example:1", "403"), ("localhost:0", "400"),
        ]:  # fmt: skip
            fields = [(":method", "CONNECT"), (":authority", authority)]
            stream = await client.ask(fields, False)
            assert (await client.head(stream))[":status"] == status
        client.wire.close()
