"""HTTP/2 with and without TLS: what plain text may do, and what upstreams are told of both."""

from pathlib import Path
from typing import Any

import pytest

from cmux_proxy import Access, Config, Proxy, Rewriting, Tls
from tests.helpers.h2_peer import fields
from tests.helpers.h2_stage import ObservedStage, observed_stage
from tests.helpers.origins import echo, origin, responding
from tests.helpers.proxies import local_config
from tests.helpers.timing import soon
from tests.helpers.tls import NAME, leaf, write_authority, write_pem
from tests.helpers.tools import Finished, finish, tool

NAVIGATES = ("sec-fetch-mode", "navigate")


def tls(folder: Path, **options: Any) -> Tls:
    cert, key = write_pem(folder, "here", leaf(NAME, "localhost"))
    return Tls(certs=[cert], keys=[key], **options)


async def curl(folder: Path, proxy: Proxy, port: int, scheme: str, *arguments: str) -> Finished:
    """Ask with curl over HTTP/2."""
    flag = "--http2" if scheme == "https" else "--http2-prior-knowledge"
    return await finish(
        tool("curl"), "-q", "-sS", "--noproxy", "*", "--cacert", write_authority(folder), flag,
        "-H", f"X-Cmux-Port-Internal: {port}", "-w", "%{http_version} %{http_code}", *arguments,
        f"{scheme}://localhost:{proxy.addresses[0].port}/a",
    )  # fmt: skip


async def heads_at(on: ObservedStage, *more: tuple[str, str]) -> list[str]:
    """Ask; return the field lines that the upstream gets."""
    await on.client.ask(fields(on.port, "GET", "/", *more))
    with await on.accept() as upstream:
        request = (await soon(upstream.receive())).decode()
    return request.split("\r\n")[1:-2]


@pytest.mark.parametrize(
    ("rule", "more", "status"),
    [("refuse", (), "400"), ("redirect", (), "400"), ("redirect", (NAVIGATES,), "308")],
)
async def test_plain_text_is_refused_by_prior_knowledge_too(
    tmp_path: Path, rule: str, more: tuple[tuple[str, str], ...], status: str
) -> None:
    async with observed_stage(tls=tls(tmp_path, plain_text=rule)) as on:
        response = await on.client.complete(
            await on.client.ask(fields(on.port, "GET", "/x", *more))
        )
        assert response.status == status
        assert b"https://a/x" in response.body
        assert response.heads[-1].get("location") == ("https://a/x" if more else None)
        tunnel = await on.client.ask(on.websocket(), False)
        assert (await on.client.complete(tunnel)).status == "400"
        assert on.stats().upstreams == 0
    assert {record.error for record in on.records} == {"http_request_denied"}


async def test_forwarded_fields_name_the_client_and_the_authority() -> None:
    rewriting = Rewriting(forwarded="append", forwarded_rfc7239=True)
    async with observed_stage(rewriting=rewriting) as on:
        lines = await heads_at(on, ("x-forwarded-for", "1.2.3.4"), ("forwarded", "for=1.2.3.4"))
    assert "X-Forwarded-For: 127.0.0.1" in lines
    assert "X-Forwarded-Host: a" in lines
    assert "X-Forwarded-Proto: http" in lines
    assert 'Forwarded: for=127.0.0.1;host="a";proto=http' in lines
    assert not [line for line in lines if "1.2.3.4" in line]
    assert not [line for line in lines if line.lower().startswith("via:")]


async def test_without_rules_nothing_is_added() -> None:
    async with observed_stage() as on:
        lines = await heads_at(on, ("x-forwarded-for", "1.2.3.4"), ("origin", "http://a"))
    assert lines == ["host: a", "x-forwarded-for: 1.2.3.4", "origin: http://a"]


async def test_host_and_origin_are_rewritten() -> None:
    async with observed_stage(
        rewriting=Rewriting(host_header="upstream", rewrite_origin=True)
    ) as on:
        lines = await heads_at(on, ("origin", "http://a"), ("referer", "http://a/x"))
        port = on.port
    assert lines == [
        f"Host: localhost:{port}", f"Origin: http://localhost:{port}",
        f"Referer: http://localhost:{port}/x",
    ]  # fmt: skip


def config(folder: Path, **options: Any) -> Config:
    return local_config(tls=tls(folder), **options)


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_upstreams_are_told_the_scheme(tmp_path: Path, scheme: str) -> None:
    rewriting = Rewriting(forwarded="append", host_header="upstream", rewrite_origin=True)
    settings = config(tmp_path, rewriting=rewriting)
    async with origin(responding(echo)) as upstream, Proxy(settings) as proxy:
        mine = f"{scheme}://localhost:{proxy.addresses[0].port}"
        result = await curl(
            tmp_path, proxy, upstream.port, scheme, "-o", "/dev/null", "-H", f"Origin: {mine}"
        )
        assert (result.out, result.errors) == (b"2 200", b"")
        [request] = upstream.requests
        assert request.field("x-forwarded-proto") == scheme
        assert request.field("origin") == f"http://localhost:{upstream.port}"


async def test_a_client_of_another_network_gets_403_before_its_preface_is_read() -> None:
    async with observed_stage(access=Access(allow_clients=["192.0.2.1"])) as on:
        # Nothing says which protocol a client speaks that has not sent anything.
        assert (await soon(on.client.wire.receive())).startswith(b"HTTP/1.1 403 ")
