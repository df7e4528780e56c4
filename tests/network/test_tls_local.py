"""`--tls auto` with real clients: which names are trusted, restarts, workers, and errors."""

import os
import signal
from pathlib import Path

import pytest

from cmux_proxy.net.tls_authority import Authority
from cmux_proxy.server.authority_file import AuthorityFile
from tests.helpers.authority_files import client_trusting, use_state
from tests.helpers.loops import loop_flags
from tests.helpers.origins import echo, origin, responding
from tests.helpers.proxies import MODULE, environment, path_with, proxy_process
from tests.helpers.timing import soon
from tests.helpers.tls import TlsClient, TlsPeer
from tests.helpers.tools import Finished, finish, tool
from tests.helpers.wire import Wire

AUTO = ("--tls", "auto")
# Hides the package from a process.
HIDDEN = """
import importlib.abc, sys

class Hidden(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "cryptography":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Hidden())
"""
INFO = {"CMUX_LOG_LEVEL": "info"}


def content_of(file: AuthorityFile) -> bytes:
    return Path(file.path).read_bytes()


def replace_content(file: AuthorityFile, content: bytes) -> None:
    Path(file.path).write_bytes(content)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AuthorityFile:
    return use_state(tmp_path / "state", monkeypatch)


async def curl(file: AuthorityFile, port: int, host: str, *arguments: str) -> Finished:
    """Run curl for a host, which trusts the authority; every name leads to this machine."""
    url = f"https://{host}:{port}/path"
    return await finish(
        tool("curl"), "-q", "-sS", "--noproxy", "*", "--cacert", file.certificate_path,
        "--connect-to", f"::127.0.0.1:{port}", *arguments, url,
    )  # fmt: skip


async def test_curl_trusts_every_name_of_the_routes(file: AuthorityFile, loop_name: str) -> None:
    flags = (*AUTO, "--host-suffix", "example.dev")
    async with (
        origin(responding(echo)) as upstream,
        proxy_process(loop_name, *flags) as proxy,
    ):
        for host in (f"{upstream.port}.localhost", f"{upstream.port}.example.dev"):
            result = await curl(file, proxy.port, host, "-i")
            assert result.errors == b""
            assert result.out.lower().startswith(b"http/2 200 \r\nx-method: get\r\nx-target: /path")
        field = ("-H", f"X-Cmux-Port-Internal: {upstream.port}")
        for host in ("localhost", "127.0.0.1"):
            result = await curl(file, proxy.port, host, *field, "-w", "%{http_code}")
            assert (result.out, result.errors) == (b"200", b"")
        result = await curl(file, proxy.port, "bank.example")
        assert b"no alternative certificate subject name matches" in result.errors


async def test_openssl_verifies_the_chain_and_the_name(file: AuthorityFile, loop_name: str) -> None:
    async with proxy_process(loop_name, *AUTO) as proxy:
        command = (
            tool("openssl"), "s_client", "-connect", f"127.0.0.1:{proxy.port}",
            "-CAfile", file.certificate_path, "-verify_return_error", "-x509_strict",
        )  # fmt: skip
        name = ("-servername", "3000.localhost", "-verify_hostname", "3000.localhost")
        for version in ("-tls1_2", "-tls1_3"):
            result = await finish(*command, *name, version)
            assert b"Verify return code: 0 (ok)" in result.out
        # Clients send no name for an address.
        result = await finish(*command, "-noservername", "-verify_ip", "127.0.0.1")
        assert b"Verify return code: 0 (ok)" in result.out


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_restarts_and_workers_share_one_authority(
    workers: str, file: AuthorityFile, loop_name: str
) -> None:
    contents = set()
    for is_first in (True, False):
        async with proxy_process(loop_name, *AUTO, "--workers", workers, variables=INFO) as proxy:
            if is_first:
                expected = f"new authority in {file.path}; to trust it: cmux-proxy trust"
                assert await proxy.error_line() == f"cmux-proxy: INFO: {expected}"
            contents.add(content_of(file))
            context = client_trusting(file)
            # More connections than workers.
            for _ in range(6):
                wire = await Wire.to("127.0.0.1", proxy.port)
                await TlsClient(wire, context, "3000.localhost").open()
                wire.close()
            proxy.signal()
            _status, errors = await proxy.ended()
            assert "authority" not in errors
    assert len(contents) == 1


async def test_a_hangup_reads_the_authority_again_beside_other_files(
    file: AuthorityFile, tmp_path: Path, loop_name: str
) -> None:
    flags = (*AUTO, "--access-log-file", str(tmp_path / "log"))
    async with proxy_process(loop_name, *flags, variables=INFO) as proxy:
        await proxy.error_line()
        file.remove()
        authority, _ = file.load_or_make([])
        proxy.signal(signal.SIGHUP)
        line = f"cmux-proxy: INFO: authority reloaded: {authority.name()}"
        assert await proxy.error_line() == line
        wire = await Wire.to("127.0.0.1", proxy.port)
        await TlsClient(wire, client_trusting(file), "3000.localhost").open()
        wire.close()


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_proxy_ends_with_its_terminal(
    workers: str, file: AuthorityFile, loop_name: str
) -> None:
    async with proxy_process(loop_name, *AUTO, "--workers", workers) as proxy:
        await proxy.error_line()
        proxy.signal(signal.SIGHUP)
        await proxy.drains()


async def refused(loop_name: str, *flags: str, status: int = 1) -> str:
    """Run a proxy that does not start; return its last line, the only one of status 1."""
    result = await finish(
        *MODULE, *loop_flags(loop_name), "--listen", "127.0.0.1:0", *AUTO, *flags,
        variables=environment(),
    )  # fmt: skip
    assert (result.status, result.out) == (status, b"")
    lines = result.errors.decode().splitlines()
    assert len(lines) == 1
    return lines[-1].removeprefix("cmux-proxy: error: ")


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_an_authority_that_cannot_be_used_is_one_line(
    workers: str, file: AuthorityFile, loop_name: str
) -> None:
    file.load_or_make([])
    flags = ("--workers", workers)
    line = await refused(loop_name, *flags, "--host-suffix", "example.dev")
    assert line == (
        f"the authority in {file.path} cannot issue for example.dev; remove it with: "
        "cmux-proxy trust --remove; then start again, and run: cmux-proxy trust"
    )
    os.chmod(file.path, 0o644)
    assert "other users may access" in await refused(loop_name, *flags)
    os.chmod(file.path, 0o600)
    replace_content(file, b"nonsense")
    assert "cannot be used: " in await refused(loop_name, *flags)
    own, other = Authority.make([]), Authority.make([])
    key = own.to_pem().removesuffix(own.certificate_pem())
    replace_content(file, key + other.certificate_pem())
    assert "its key does not belong to its certificate" in await refused(loop_name, *flags)


async def test_auto_beside_a_certificate_is_a_usage_error(loop_name: str) -> None:
    line = await refused(loop_name, "--tls-cert", "a.pem", status=2)
    assert line == "Invalid value for '--tls': auto issues certificates; leave out --tls-cert"


async def test_a_missing_package_is_a_usage_error(
    loop_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(HIDDEN)
    monkeypatch.setenv("PYTHONPATH", path_with(tmp_path))
    line = await refused(loop_name, status=2)
    assert line == (
        "Invalid value for '--tls': needs packages that are not installed: pip install "
        "'cmux-proxy[tls]'"
    )


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_server_name_that_is_no_text_is_one_line(
    workers: str, file: AuthorityFile, loop_name: str
) -> None:
    flags = (*AUTO, "--workers", workers)
    async with proxy_process(loop_name, *flags, variables=INFO) as proxy:
        await proxy.error_line()
        context = client_trusting(file)
        wire = await Wire.to("127.0.0.1", proxy.port)
        peer = TlsPeer(context, False, "abcd.localhost")
        peer.take(b"")
        await wire.send(peer.outgoing().replace(b"abcd.", b"ab\xc3\xa4."))
        assert await soon(wire.receive_all())
        wire.close()
        assert await proxy.error_line() == (
            "cmux-proxy: INFO: TLS handshake with 127.0.0.1 failed: there is no certificate for "
            "the server name that the peer has sent"
        )
        wire = await Wire.to("127.0.0.1", proxy.port)
        await TlsClient(wire, context, "3000.localhost").open()
        wire.close()
        await proxy.stop()
