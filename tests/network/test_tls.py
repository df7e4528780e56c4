"""TLS beside plain text on one port, with real clients."""

import asyncio
import contextlib
import gc
import signal
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Subprotocol

from cmux_proxy import CertificateError, Config, ConfigError, Proxy, Tls
from cmux_proxy.server.file_watch import CHECK_INTERVAL
from tests.helpers.http2_wire import GREETING
from tests.helpers.loops import loop_flags
from tests.helpers.origins import echo, http_response, origin, responding
from tests.helpers.proxies import MODULE, environment, local_config, proxy_process
from tests.helpers.timing import soon
from tests.helpers.tls import (
    TLS_1_2,
    TLS_1_3,
    TlsClient,
    client_context,
    expired_leaf,
    leaf,
    write_authority,
    write_pem,
)
from tests.helpers.tools import Finished, finish, tool
from tests.helpers.wire import Wire, WireListener, closed_port

VERSIONS = pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3], ids=["1.2", "1.3"])
BODY = bytes(range(256)) * 4096


def tls(folder: Path, **options: Any) -> Tls:
    """Return a configuration with certificates for this machine and for another name."""
    pairs = [
        write_pem(folder, "here", leaf("localhost", "127.0.0.1")),
        write_pem(folder, "other", leaf("*.b.example")),
    ]
    return Tls(
        certs=[cert for cert, _ in pairs], keys=[key for _, key in pairs], **options
    )  # fmt: skip


def config(folder: Path, **options: Any) -> Config:
    return local_config(tls=tls(folder, **options))


def port_of(proxy: Proxy) -> int:
    return proxy.addresses[0].port


async def curl(folder: Path, upstream_port: int, *arguments: str, stdin: bytes = b"") -> Finished:
    """Run curl, which trusts the authority, routed to a port."""
    return await finish(
        tool("curl"), "-q", "-sS", "--noproxy", "", "--cacert", write_authority(folder),
        "-H", f"X-Cmux-Port-Internal: {upstream_port}", *arguments, stdin=stdin,
    )  # fmt: skip


async def open_client(proxy: Proxy, version: ssl.TLSVersion = TLS_1_3) -> TlsClient:
    context = client_context("http/1.1")
    context.minimum_version = context.maximum_version = version
    client = TlsClient(await Wire.to("127.0.0.1", port_of(proxy)), context, "localhost")
    await client.open()
    return client


async def test_curl_gets_the_same_over_both(tmp_path: Path) -> None:
    async with origin(responding(echo)) as upstream, Proxy(config(tmp_path)) as proxy:
        urls = [f"{scheme}://localhost:{port_of(proxy)}/a" for scheme in ("https", "http")]
        for url in urls:
            result = await curl(tmp_path, upstream.port, "--http1.1", "-i", url)
            assert result.errors == b""
            assert result.out.startswith(b"HTTP/1.1 200 OK\r\nX-Method: GET\r\nX-Target: /a\r\n")


@pytest.mark.parametrize(("option", "version"), [("--http1.1", b"1.1"), ("--http2", b"2")])
async def test_the_client_chooses_the_protocol(tmp_path: Path, option: str, version: bytes) -> None:
    async with origin(responding(echo)) as upstream, Proxy(config(tmp_path)) as proxy:
        url = f"https://localhost:{port_of(proxy)}/a"
        result = await curl(
            tmp_path, upstream.port, option, "-w", "%{num_connects} %{http_version} ", *[url] * 3
        )
        assert result.out == b"1 %b 0 %b 0 %b " % (version, version, version)


@pytest.mark.parametrize(
    ("option", "url", "version"),
    [
        ("--http2-prior-knowledge", "http://localhost/a", b"2"),
        ("--http2", "https://localhost/a", b"2"),
        ("--http1.1", "https://localhost/a", b"1.1"),
    ],
    ids=["http2", "http2-and-tls", "tls"],
)
async def test_a_unix_socket_has_the_same_protocols(
    tmp_path: Path, option: str, url: str, version: bytes
) -> None:
    path = f"{tmp_path}/s"
    settings = local_config(listen=[f"unix:{path}"], tls=tls(tmp_path))
    async with origin(responding(echo)) as upstream, Proxy(settings):
        result = await curl(
            tmp_path, upstream.port, "--unix-socket", path, option, "-w", "\n%{http_version}", url
        )
        assert (result.errors, result.out.splitlines()[-1]) == (b"", version)


@pytest.mark.parametrize(
    ("offers", "start"),
    [
        (["h2", "http/1.1"], b"\x00\x00"),
        (["http/1.1"], b"HTTP/1.1 505 "),
        ([], b"HTTP/1.1 505 "),
    ],
    ids=["h2", "http/1.1", "none"],
)
async def test_http2_is_spoken_where_alpn_has_chosen_it(
    tmp_path: Path, offers: list[str], start: bytes
) -> None:
    async with Proxy(config(tmp_path)) as proxy:
        with await Wire.to("127.0.0.1", port_of(proxy)) as wire:
            client = TlsClient(wire, client_context(*offers), "localhost")
            await client.open()
            await client.send(GREETING)
            assert (await client.receive(len(start))).startswith(start)


@VERSIONS
async def test_a_megabyte_passes_in_both_directions(
    tmp_path: Path, version: ssl.TLSVersion
) -> None:
    async with (
        origin(responding(lambda request: http_response(request.body))) as upstream,
        Proxy(config(tmp_path)) as proxy,
    ):
        result = await curl(
            tmp_path, upstream.port, f"https://localhost:{port_of(proxy)}/",
            "--tls-max", version.name.removeprefix("TLSv").replace("_", "."),
            "--data-binary", "@-", stdin=BODY,
        )  # fmt: skip
        assert (result.errors, result.out) == (b"", BODY)


async def test_openssl_chooses_by_name_and_resumes(tmp_path: Path) -> None:
    async with Proxy(config(tmp_path)) as proxy:
        command = [
            tool("openssl"), "s_client", "-connect", f"127.0.0.1:{port_of(proxy)}",
            "-CAfile", write_authority(tmp_path), "-verify_return_error",
        ]  # fmt: skip
        result = await finish(
            *command, "-servername", "x.b.example", "-verify_hostname", "x.b.example",
            "-alpn", "h2,http/1.1",
        )  # fmt: skip
        assert b"ALPN protocol: h2" in result.out
        assert b"Verify return code: 0 (ok)" in result.out
        result = await finish(*command, "-tls1_2", "-reconnect")
        assert result.out.count(b"\nReused, TLSv1.2") == 5
        end = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        result = await finish(*command, "-tls1_3", "-ign_eof", stdin=end)
        assert result.out.count(b"New Session Ticket arrived") == 1


async def test_a_client_may_ask_for_new_keys_but_not_renegotiate(tmp_path: Path) -> None:
    async with origin(responding(echo)) as upstream, Proxy(config(tmp_path)) as proxy:
        for version, letter, expected in (
            ("-tls1_3", b"K", b"KEYUPDATE"),
            ("-tls1_2", b"R", b"no renegotiation"),
        ):
            process = await asyncio.create_subprocess_exec(
                tool("openssl"), "s_client", "-connect", f"127.0.0.1:{port_of(proxy)}", version,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )  # fmt: skip
            assert process.stdin is not None
            assert process.stdout is not None
            await soon(process.stdout.readuntil(b"\n---\n"))
            # The letter has to come alone, and the keys are those of the session.
            process.stdin.write(letter + b"\n")
            await soon(process.stdout.readuntil(expected))
            if letter == b"K":
                process.stdin.write(
                    b"GET /k HTTP/1.1\r\nHost: a\r\nX-Cmux-Port-Internal: %d\r\n\r\n"
                    % upstream.port
                )
                await soon(process.stdout.readuntil(b"X-Target: /k"))
            process.stdin.close()
            await soon(process.communicate())


@VERSIONS
async def test_a_tunnel_over_tls_keeps_half_closes(tmp_path: Path, version: ssl.TLSVersion) -> None:
    listener = WireListener()
    async with Proxy(config(tmp_path)) as proxy:
        client = await open_client(proxy, version)
        await client.send(
            b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\nX-Cmux-Port-Internal: %d\r\n\r\n" % listener.port
        )
        upstream = await soon(listener.accept())
        established = b"HTTP/1.1 200 Connection established\r\n\r\n"
        assert await client.receive(len(established)) == established
        sending = client.send_aside(BODY)
        # The upstream ends while bytes of the client are on their way.
        await upstream.send(b"last words")
        upstream.end()
        assert await client.receive_all() == established + b"last words"
        received = b""
        while len(received) < len(BODY):
            received += await soon(upstream.receive())
        await soon(sending)
        await client.send_raw(client.peer.ends())
        assert await soon(upstream.receive()) == b""
        assert received == BODY
        client.wire.close()
        upstream.close()
    listener.close()


async def test_a_reset_of_the_upstream_is_a_reset_for_a_client_over_tls(tmp_path: Path) -> None:
    listener = WireListener()
    async with Proxy(config(tmp_path)) as proxy:
        client = await open_client(proxy)
        await client.send(
            b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\nX-Cmux-Port-Internal: %d\r\n\r\n" % listener.port
        )
        upstream = await soon(listener.accept())
        await client.receive(10)
        upstream.reset()
        with pytest.raises(ConnectionResetError):
            await soon(client.wire.receive_all())
        client.wire.close()
    listener.close()


async def test_a_websocket_works_over_tls(tmp_path: Path) -> None:
    async def echo_messages(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async with serve(echo_messages, "127.0.0.1", 0) as server, Proxy(config(tmp_path)) as proxy:
        port = next(iter(server.sockets)).getsockname()[1]
        async with connect(
            f"wss://localhost:{port_of(proxy)}/",
            ssl=client_context(),
            additional_headers={"X-Cmux-Port-Internal": str(port)},
        ) as websocket:
            await websocket.send("x" * 100_000)
            assert await soon(websocket.recv()) == "x" * 100_000


async def test_a_tunnel_inside_a_websocket_works_over_tls(tmp_path: Path) -> None:
    with contextlib.closing(WireListener()) as listener:
        async with (
            Proxy(config(tmp_path)) as proxy,
            connect(
                f"wss://localhost:{port_of(proxy)}/.cmux/tcp/{listener.port}",
                ssl=client_context(),
                subprotocols=[Subprotocol("cmux-tcp.v1")],
            ) as tunnel,
        ):
            with await soon(listener.accept()) as upstream:
                await tunnel.send(b"x" * 100_000)
                await tunnel.send("F", text=True)
                assert await soon(upstream.receive_all()) == b"x" * 100_000
                await upstream.send(b"y" * 100_000)
                upstream.end()
                answer = b""
                while isinstance(message := await soon(tunnel.recv()), bytes):
                    answer += message
                assert (answer, message) == (b"y" * 100_000, "F")
                await soon(tunnel.wait_closed())
                assert tunnel.close_code == 1000


async def test_a_client_that_does_not_read_holds_little(tmp_path: Path) -> None:
    async with (
        origin(responding(lambda _request: http_response(BODY * 8))) as upstream,
        Proxy(config(tmp_path)) as proxy,
    ):
        client = await open_client(proxy)
        request = b"GET / HTTP/1.1\r\nHost: a\r\nX-Cmux-Port-Internal: %d\r\n\r\n" % upstream.port
        await client.send(request)
        await client.receive(100_000)
        received = await client.receive(len(BODY) * 8)
        assert received.endswith(BODY * 8)
        client.wire.close()


async def test_a_client_certificate_is_required(tmp_path: Path) -> None:
    settings = config(tmp_path, client_ca=write_authority(tmp_path))
    async with origin(responding(echo)) as upstream, Proxy(settings) as proxy:
        url = f"https://localhost:{port_of(proxy)}/"
        result = await curl(tmp_path, upstream.port, url)
        assert result.out == b""
        assert b"certificate required" in result.errors
        cert, key = write_pem(tmp_path, "client", leaf("client.example"))
        result = await curl(tmp_path, upstream.port, "-i", "--cert", cert, "--key", key, url)
        assert result.out.startswith(b"HTTP/2 200")
        stranger = trustme.CA().issue_cert("client.example")
        cert, key = write_pem(tmp_path, "stranger", stranger)
        result = await curl(tmp_path, upstream.port, "--cert", cert, "--key", key, url)
        assert (result.out, b"unknown ca" in result.errors) == (b"", True)
        cert, key = write_pem(tmp_path, "old", expired_leaf("client.example"))
        result = await curl(tmp_path, upstream.port, "--cert", cert, "--key", key, url)
        assert (result.out, b"certificate expired" in result.errors) == (b"", True)
        assert len(upstream.requests) == 1


async def test_plain_curl_is_told_where_to_go(tmp_path: Path) -> None:
    async with Proxy(config(tmp_path, plain_text="redirect")) as proxy:
        url = f"http://localhost:{port_of(proxy)}/a?b"
        result = await curl(tmp_path, 1, url)
        assert result.out == (
            b"plain HTTP is not served here; use https://localhost:%d/a?b\n" % port_of(proxy)
        )
        result = await curl(
            tmp_path, 1, "-H", "Upgrade-Insecure-Requests: 1", "-o", "/dev/null",
            "-w", "%{http_code} %{redirect_url}", url,
        )  # fmt: skip
        assert result.out == b"308 https://localhost:%d/a?b" % port_of(proxy)


async def test_a_tls_client_gets_an_alert_from_a_plain_port(tmp_path: Path) -> None:
    async with Proxy(local_config()) as proxy:
        result = await curl(tmp_path, 1, f"https://localhost:{port_of(proxy)}/")
        assert b"alert handshake failure" in result.errors


async def test_a_reload_is_for_new_connections(tmp_path: Path) -> None:
    settings = config(tmp_path)
    async with origin(responding(echo)) as upstream, Proxy(settings) as proxy:
        client = await open_client(proxy)
        write_pem(tmp_path, "here", leaf("new.example"))
        proxy.reload_certificates()
        # The open connection goes on with its certificate.
        await client.send(
            b"GET / HTTP/1.1\r\nHost: a\r\nX-Cmux-Port-Internal: %d\r\n\r\n" % upstream.port
        )
        assert (await client.receive(15)).startswith(b"HTTP/1.1 200 OK")
        client.wire.close()
        context = client_context()
        wire = await Wire.to("127.0.0.1", port_of(proxy))
        client = TlsClient(wire, context, "new.example")
        await client.open()
        wire.close()


async def test_a_proxy_does_not_start_with_what_it_cannot_use(tmp_path: Path) -> None:
    cert, key = write_pem(tmp_path, "old", expired_leaf("old.example"))
    with pytest.raises(CertificateError, match="has expired"):
        await Proxy(local_config(tls=Tls(certs=[cert], keys=[key]))).start()
    with pytest.raises(ConfigError, match="1 keys for 0 certificates"):
        await Proxy(local_config(tls=Tls(keys=[key]))).start()
    for options in ({"client_ca": cert}, {"plain_text": "refuse"}):
        with pytest.raises(ConfigError, match="needs a certificate"):
            await Proxy(local_config(tls=Tls(**options))).start()  # type: ignore[arg-type]


async def test_the_drain_lets_a_request_over_tls_finish(tmp_path: Path) -> None:
    listener = WireListener()
    proxy = Proxy(config(tmp_path))
    await proxy.start()
    client = await open_client(proxy)
    await client.send(
        b"GET / HTTP/1.1\r\nHost: a\r\nX-Cmux-Port-Internal: %d\r\n\r\n" % listener.port
    )
    with await soon(listener.accept()) as upstream:
        await soon(upstream.receive())
        drain = asyncio.get_running_loop().create_task(proxy.drain())
        await upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        assert (await client.receive_all()).endswith(b"\r\n\r\nhi")
        client.wire.close()
        await soon(drain)
    listener.close()


async def test_connections_that_are_over_do_not_wait_for_the_garbage_collector(
    tmp_path: Path,
) -> None:
    async with origin(responding(echo)) as upstream, Proxy(config(tmp_path)) as proxy:
        registry = proxy.services.registry
        gc.disable()
        try:
            for asked in (b"GET / HTTP/1.1\r\nHost: a\r\n", b"nonsense", b""):
                client = await open_client(proxy)
                if asked:
                    route = b"X-Cmux-Port-Internal: %d\r\n\r\n" % upstream.port
                    await client.send(asked + route)
                    await client.receive(10)
                await client.send_raw(client.peer.ends())
                client.wire.end()
                while len(registry):  # noqa: ASYNC110
                    await asyncio.sleep(0)
                client.wire.close()
            sessions = [one for one in gc.get_objects() if isinstance(one, ssl.SSLObject)]
            assert not [session for session in sessions if session.server_side]
        finally:
            gc.enable()


# The command


def spoil(path: str) -> None:
    Path(path).write_text("not a key")


def flags_of(certificate: tuple[str, str]) -> list[str]:
    return ["--tls-cert", certificate[0], "--tls-key", certificate[1]]


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_hangup_reads_certificates_again_and_keeps_the_old_ones_if_they_are_bad(
    workers: str, tmp_path: Path, loop_name: str
) -> None:
    certificate = write_pem(tmp_path, "a", leaf("old.example"))
    variables = {"CMUX_LOG_LEVEL": "info"}
    async with proxy_process(
        loop_name, *flags_of(certificate), "--workers", workers, variables=variables
    ) as proxy:

        async def open_for(name: str) -> None:
            client = TlsClient(await Wire.to("127.0.0.1", proxy.port), client_context(), name)
            await client.open()
            client.wire.close()

        await open_for("old.example")
        write_pem(tmp_path, "a", leaf("new.example"))
        for expected in ("INFO: certificates reloaded: 1", "WARNING: cannot reload the cert"):
            proxy.signal(signal.SIGHUP)
            for _ in range(int(workers)):
                assert (await proxy.error_line()).startswith(f"cmux-proxy: {expected}")
            await open_for("new.example")
            spoil(certificate[1])


async def test_changed_files_are_read_without_a_signal(tmp_path: Path) -> None:
    cert, key = write_pem(tmp_path, "a", leaf("old.example"))
    async with Proxy(local_config(tls=Tls(certs=[cert], keys=[key]))) as proxy:
        write_pem(tmp_path, "a", leaf("new.example"))
        ticker = proxy.services.ticker
        # A change counts when the files stay as they are from one check to the next.
        for _ in range(3):
            ticker.walk(ticker.now + CHECK_INTERVAL)
        with await Wire.to("127.0.0.1", port_of(proxy)) as wire:
            await TlsClient(wire, client_context(), "new.example").open()


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_the_admin_listener_has_the_certificates_and_their_renewal(
    workers: str, tmp_path: Path, loop_name: str
) -> None:
    certificate = write_pem(tmp_path, "a", leaf("localhost"))
    with closed_port() as free:
        admin = free
    async with proxy_process(
        loop_name, *flags_of(certificate), "--workers", workers, "--admin", f"127.0.0.1:{admin}"
    ) as proxy:
        for scheme in ("https", "http"):
            result = await curl(tmp_path, 1, f"{scheme}://localhost:{admin}/healthz")
            assert (result.out, result.errors) == (b"ok\n", b"")
        write_pem(tmp_path, "a", leaf("other.example"))
        proxy.signal(signal.SIGHUP)
        # One line for each worker, and one for the process of the admin listener.
        for _ in range(1 if workers == "1" else 3):
            assert "certificates reloaded" in await proxy.error_line()
        result = await curl(tmp_path, 1, f"https://localhost:{admin}/healthz")
        assert b"no alternative certificate subject name" in result.errors


def damage(key: str) -> str:
    """Write a damaged copy of a key; return its path."""
    damaged = Path(f"{key}.damaged")
    damaged.write_text(Path(key).read_text().replace("\n", "\n!", 2))
    return str(damaged)


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_bad_files_are_one_line_and_status_1(
    workers: str, tmp_path: Path, loop_name: str
) -> None:
    cert, key = write_pem(tmp_path, "a", leaf("a.example"))
    _, other = write_pem(tmp_path, "b", leaf("b.example"))
    old = write_pem(tmp_path, "c", expired_leaf("c.example"))
    missing = str(tmp_path / "missing")
    damaged = damage(key)
    for flags, expected in (
        (flags_of((cert, damaged)), f"{cert} with {damaged} cannot be used: it is damaged;"),
        (flags_of((cert, other)), f"the key in {other} does not belong to the certificate in"),
        (flags_of(old), f"the certificate in {old[0]} has expired on"),
        (flags_of((missing, key)), f"cannot read {missing}: No such file or directory"),
        (["--tls-cert", cert], f"{cert} has no private key in PEM format"),
        ([*flags_of((cert, key)), "--tls-client-ca", key], f"{key} has no certificate of an"),
    ):
        result = await finish(
            *MODULE, *loop_flags(loop_name), "--listen", "127.0.0.1:0", "--workers", workers,
            *flags, variables=environment(),
        )  # fmt: skip
        assert (result.status, result.out) == (1, b"")
        [line] = result.errors.decode().splitlines()
        assert line.startswith(f"cmux-proxy: error: {expected}")


async def test_settings_that_need_a_certificate_are_a_usage_error(loop_name: str) -> None:
    for flags in (["--plain-text", "refuse"], ["--tls-client-ca", "a"], ["--tls-key", "a"]):
        result = await finish(
            *MODULE, *loop_flags(loop_name), "--listen", "127.0.0.1:0", *flags,
            variables=environment(),
        )  # fmt: skip
        assert result.status == 2
        assert f"Invalid value for '{flags[0]}'" in result.errors.decode()
