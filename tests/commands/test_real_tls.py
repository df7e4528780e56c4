"""https:// proxies: HAProxy ends TLS in front of the proxy, with an authority of the test's own."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest

from cmux_proxy import Tls
from tests.commands.test_forward import Forwarding, forwarding
from tests.helpers.authority import Authority
from tests.helpers.http_proxies import http_proxy
from tests.helpers.proxies import MODULE, environment, local_config
from tests.helpers.script import Stage, stage
from tests.helpers.timing import SOON, later, soon
from tests.helpers.tls import leaf, write_authority, write_pem
from tests.helpers.tools import finish, tool
from tests.helpers.wire import Wire, closed_port
from tests.network.test_real_redis import redis_server

# Asks for a header field too, as a gate in front of a proxy may.
CONFIGURATION = """
global
    maxconn 200
defaults
    mode http
    timeout connect {ms}
    timeout client {ms}
    timeout server {ms}
    timeout tunnel {ms}
frontend gate
    bind 127.0.0.1:{port} ssl crt {certificate}
    http-request return status 403 content-type text/plain string "no key" \
        unless {{ req.hdr(X-Gate) open }}
    default_backend proxy
backend proxy
    server proxy {address}
"""
KEY = ("--header", "X-Gate: open")


class Gate(NamedTuple):
    """A running HAProxy; `variables` let a program believe its certificate."""

    port: int
    variables: dict[str, str]


@contextlib.asynccontextmanager
async def gate(folder: Path, on: Stage, name: str = "127.0.0.1") -> AsyncIterator[Gate]:
    """End TLS in front of the proxy of a stage, with a certificate for a name."""
    authority = await Authority.make(folder)
    certificate = await authority.issue(name)
    with closed_port() as free:
        port = free
    path = folder / "haproxy.cfg"
    path.write_text(
        CONFIGURATION.format(
            port=port, certificate=certificate, address=on.address, ms=int(SOON * 1000)
        )
    )
    process = await asyncio.create_subprocess_exec(
        tool("haproxy"), "-f", str(path), "-db", stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(SOON):
            while not await accepts(port):
                assert process.returncode is None
        yield Gate(port, environment(SSL_CERT_FILE=str(authority.path)))
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await later(process.communicate())


def through(tls: Gate, port: int) -> contextlib.AbstractAsyncContextManager[Forwarding]:
    """Run `forward` for a port behind the gate."""
    url = f"https://127.0.0.1:{tls.port}"
    return forwarding(url, f"0:{port}", flags=KEY, variables=tls.variables)


async def accepts(port: int) -> bool:
    """Return whether somebody listens."""
    try:
        (await Wire.to("127.0.0.1", port)).close()
    except OSError:
        await asyncio.sleep(0)
        return False
    return True


async def test_connect_reaches_a_port_behind_a_verified_proxy(tmp_path: Path) -> None:
    async with stage() as on, gate(tmp_path, on) as tls:
        process = await asyncio.create_subprocess_exec(
            *MODULE, "connect", *KEY, str(on.port), f"https://127.0.0.1:{tls.port}",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env=tls.variables,
        )  # fmt: skip
        upstream = await on.upstream()
        assert process.stdin is not None
        process.stdin.write(b"question")
        await upstream.gets(b"question")
        await upstream.says(b"response")
        upstream.ends()
        assert process.stdout is not None
        assert await later(process.stdout.read()) == b"response"
        process.stdin.close()
        assert await later(process.wait()) == 0
        await upstream.gets_end()


async def test_redis_cli_goes_through_forward_and_tls(tmp_path: Path) -> None:
    (tmp_path / "gate").mkdir()
    async with (
        redis_server(tmp_path) as port,
        stage() as on,
        gate(tmp_path / "gate", on) as tls,
        through(tls, port) as running,
    ):
        redis_cli = (tool("redis-cli"), "-p", str(running.ports[0]))
        done = await finish(*redis_cli, "--pipe", stdin=b"SET a 1\r\n" * 10_000)
        assert b"errors: 0, replies: 10000" in done.out
        done = await finish(*redis_cli, "GET", "a")
        assert (done.status, done.out) == (0, b"1\n")


async def test_the_end_of_one_direction_ends_a_tunnel_in_tls(tmp_path: Path) -> None:
    async with stage() as on, gate(tmp_path, on) as tls, through(tls, on.port) as running:
        with await Wire.to("127.0.0.1", running.ports[0]) as near:
            upstream = await on.upstream()
            await near.send(b"last words")
            near.end()
            await upstream.gets(b"last words")
            await upstream.gets_end()
            upstream.ends()
            assert await soon(near.receive()) == b""


async def test_half_closes_pass_through_forward_and_the_tls_of_the_proxy(tmp_path: Path) -> None:
    cert, key = write_pem(tmp_path, "a", leaf("127.0.0.1"))
    variables = environment(SSL_CERT_FILE=write_authority(tmp_path))
    settings = local_config(tls=Tls(certs=[cert], keys=[key]))
    async with stage(settings) as on:
        url = f"https://{on.address}"
        async with forwarding(url, f"0:{on.port}", variables=variables) as running:
            with await Wire.to("127.0.0.1", running.ports[0]) as near:
                upstream = await on.upstream()
                await near.send(b"question")
                near.end()
                await upstream.gets(b"question")
                await upstream.gets_end()
                await upstream.says(b"an answer behind the end")
                upstream.ends()
                assert await soon(near.receive_all()) == b"an answer behind the end"


async def test_connect_passes_the_end_of_its_input_through_tls(tmp_path: Path) -> None:
    cert, key = write_pem(tmp_path, "a", leaf("127.0.0.1"))
    variables = environment(SSL_CERT_FILE=write_authority(tmp_path))
    settings = local_config(tls=Tls(certs=[cert], keys=[key]))
    async with stage(settings) as on:
        process = await asyncio.create_subprocess_exec(
            *MODULE, "connect", str(on.port), f"https://{on.address}",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env=variables,
        )  # fmt: skip
        upstream = await on.upstream()
        assert process.stdin is not None
        process.stdin.write(b"question")
        process.stdin.close()
        await upstream.gets(b"question")
        await upstream.gets_end()
        await upstream.says(b"response")
        upstream.ends()
        assert process.stdout is not None
        assert await later(process.stdout.read()) == b"response"
        assert await later(process.wait()) == 0


async def test_doctor_and_healthcheck_reach_a_proxy_with_tls(tmp_path: Path) -> None:
    cert, key = write_pem(tmp_path, "a", leaf("127.0.0.1"))
    variables = environment(SSL_CERT_FILE=write_authority(tmp_path))
    for plain_text in ("allow", "refuse"):
        settings = local_config(tls=Tls(certs=[cert], keys=[key], plain_text=plain_text))
        async with stage(settings) as on:
            done = await finish(
                *MODULE, "healthcheck", "--listen", str(on.address), variables=variables
            )
            assert (done.status, done.errors) == (0, b"")
            done = await finish(
                *MODULE, "doctor", "--proxy", f"https://{on.address}", variables=variables
            )
            line = f"ok       proxy      https://{on.address} is a cmux-proxy\n"
            assert (done.status, done.errors) == (0, b"")
            assert done.out.decode().startswith(line)


async def test_the_refusal_of_a_proxy_in_front_is_printed(tmp_path: Path) -> None:
    async with stage() as on, gate(tmp_path, on) as tls:
        url = f"https://127.0.0.1:{tls.port}"
        done = await finish(*MODULE, "connect", str(on.port), url, variables=tls.variables)
        assert (done.status, done.out) == (1, b"")
        assert done.errors.decode() == f"cmux-proxy: error: {url} responded with 403: no key\n"


@pytest.mark.parametrize(
    ("name", "trusts", "expected"),
    [
        (
            "127.0.0.1", False,
            "unable to get local issuer certificate; SSL_CERT_FILE may name a file with the "
            "certificates of your authority",
        ),
        ("elsewhere.example", True, "certificate is not valid for '127.0.0.1'"),
    ],
    ids=["an unknown authority", "another name"],
)  # fmt: skip
@pytest.mark.parametrize("command", ["connect", "forward"])
async def test_an_invalid_certificate_is_refused_and_nothing_is_sent(
    command: str, name: str, trusts: bool, expected: str, tmp_path: Path
) -> None:
    async with stage() as on, gate(tmp_path, on, name) as tls:
        url = f"https://127.0.0.1:{tls.port}"
        variables = tls.variables if trusts else environment(SSL_CERT_FILE="/dev/null")
        if command == "connect":
            done = await finish(*MODULE, "connect", *KEY, "22", url, variables=variables)
            assert (done.status, done.out) == (1, b"")
            line = done.errors.decode()
        else:
            async with forwarding(url, f"0:{on.port}", flags=KEY, variables=variables) as running:
                with await Wire.to("127.0.0.1", running.ports[0]) as near:
                    line = await running.error_line()
                    assert await soon(near.receive()) == b""
        assert line.startswith(f"cmux-proxy: error: the certificate of {url} is invalid: ")
        assert line.rstrip(".\n").endswith(expected)


async def test_a_verified_proxy_is_reached_through_an_http_proxy(tmp_path: Path) -> None:
    async with (
        stage() as on,
        gate(tmp_path, on, "edge.invalid") as tls,
        http_proxy("127.0.0.1", tls.port) as front_proxy,
    ):
        variables = {**tls.variables, "HTTPS_PROXY": front_proxy.url}
        arguments = (*KEY, str(on.port), "https://edge.invalid")
        process = await asyncio.create_subprocess_exec(
            *MODULE, "connect", *arguments,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env=variables,
        )  # fmt: skip
        upstream = await on.upstream()
        assert process.stdin is not None
        process.stdin.write(b"x" * 1_000_000)
        assert len(await upstream.gets_bytes(1_000_000)) == 1_000_000
        await upstream.says(b"response")
        upstream.ends()
        assert process.stdout is not None
        assert await later(process.stdout.read()) == b"response"
        process.stdin.close()
        assert await later(process.wait()) == 0
        await upstream.gets_end()
        flags = ("--proxy", "https://edge.invalid", *KEY)
        doctor = await finish(*MODULE, "doctor", *flags, variables=variables)
        assert doctor.out.startswith(
            b"ok       proxy      https://edge.invalid:443 is a cmux-proxy\n"
        )
        assert front_proxy.heads[0].startswith(b"CONNECT edge.invalid:443 HTTP/1.1\r\n")
