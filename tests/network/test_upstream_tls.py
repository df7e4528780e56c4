"""TLS to upstreams: asked for by a field or by the port, with real sockets on both sides."""

import asyncio
import contextlib
import gc
import os
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from cmux_proxy import CertificateError, Config, Proxy, Rewriting, Target, Upstreams
from cmux_proxy.config.sections import Limits, Timeouts
from cmux_proxy.routing.router import Router
from cmux_proxy.upstream import dns_cache
from tests.helpers.loops import loop_flags
from tests.helpers.messages import Message, Reader
from tests.helpers.origins import (
    Origin,
    OriginConnection,
    chunked,
    close_early,
    echo,
    fixed_length,
    http_response,
    origin,
    responding,
    serving,
    until_close,
)
from tests.helpers.proxies import MODULE, environment, local_config
from tests.helpers.timing import soon
from tests.helpers.tls import expired_leaf, leaf, server_context, write_authority
from tests.helpers.tls_origin import TlsListener, TlsWire, tls_origin
from tests.helpers.tools import finish
from tests.helpers.wire import Wire, WireListener

BODY = os.urandom(1024) * 4096
HTTPS = b"X-Cmux-Scheme: https\r\n"


async def open_client(proxy: Proxy) -> Reader:
    return Reader(await Wire.to("127.0.0.1", proxy.addresses[0].port))


def request(
    port: int, fields: bytes = HTTPS, body: bytes = b"", line: bytes = b"GET / HTTP/1.1"
) -> bytes:
    length = b"Content-Length: %d\r\n" % len(body) if body else b""
    route = b"Host: app.example\r\nX-Cmux-Port-Internal: %d\r\n" % port
    return line + b"\r\n" + route + fields + length + b"\r\n" + body


async def response_to(proxy: Proxy, data: bytes) -> Message:
    """Return the response to one request, on a connection of its own."""
    client = await open_client(proxy)
    with client.wire:
        await client.wire.send(data)
        return await soon(client.response())


def upstreams(*ports: int, **options: Any) -> Config:
    return local_config(upstreams=Upstreams(https_ports=[str(port) for port in ports], **options))


def header(message: Message, name: str) -> str:
    return message.field(name) or ""


async def test_a_field_asks_for_tls_and_is_not_forwarded() -> None:
    listener = TlsListener()
    async with (
        serving(responding(echo), listener) as upstream,
        Proxy(local_config()) as proxy,
    ):
        client = await open_client(proxy)
        with client.wire:
            for _ in range(3):
                await client.wire.send(request(upstream.port))
                response = await soon(client.response())
                assert (response.status, header(response, "x-method")) == (200, "GET")
        # One session for all of them, and the name that a person would use.
        [connection] = upstream.connections
        assert listener.names == ["localhost"]
        for message in connection.requests:
            assert message.head == b"GET / HTTP/1.1\r\nHost: app.example"
        wire = connection.wire
        assert isinstance(wire, TlsWire)
        assert wire.peer.session.version() == "TLSv1.3"


async def test_alpn_offers_http_1_1() -> None:
    listener = TlsListener(protocols=("h2", "http/1.1"))
    async with serving(responding(echo), listener) as upstream, Proxy(local_config()) as proxy:
        assert (await response_to(proxy, request(upstream.port))).status == 200
        wire = upstream.connections[0].wire
        assert isinstance(wire, TlsWire)
        assert wire.peer.session.selected_alpn_protocol() == "http/1.1"


async def test_a_port_has_tls_without_a_field_unless_the_request_says_http() -> None:
    async with tls_origin(responding(echo)) as upstream, Proxy(upstreams(upstream.port)) as proxy:
        assert (await response_to(proxy, request(upstream.port, b""))).status == 200
        plain = await response_to(proxy, request(upstream.port, b"X-Cmux-Scheme: http\r\n"))
        assert plain.status == 502
    async with origin(responding(echo)) as upstream, Proxy(upstreams(1)) as proxy:
        assert (await response_to(proxy, request(upstream.port, b""))).status == 200


@pytest.mark.parametrize(
    "fields",
    [b"X-Cmux-Scheme: h2\r\n", b"X-Cmux-Scheme:\r\n", b"X-Cmux-Scheme: HTTPS\r\n", HTTPS + HTTPS],
    ids=["unknown", "empty", "upper case", "twice"],
)
async def test_another_scheme_is_a_bad_request(fields: bytes) -> None:
    async with origin(responding(echo)) as upstream, Proxy(local_config()) as proxy:
        response = await response_to(proxy, request(upstream.port, fields))
        assert response.status == 400
        assert b"X-Cmux-Scheme" in response.body
        assert upstream.requests == []


async def test_plain_and_encrypted_connections_are_not_mixed_up() -> None:
    """One port that speaks both, as the proxy itself does."""
    context = server_context()

    class BothListener(WireListener):
        async def accept(self) -> Wire:
            wire = await super().accept()
            while not (first := _peek(wire)):  # noqa: ASYNC110
                await asyncio.sleep(0)
            return TlsWire(wire.sock, context) if first == b"\x16" else wire

    async with (
        serving(responding(echo), BothListener()) as upstream,
        Proxy(local_config()) as proxy,
    ):
        client = await open_client(proxy)
        with client.wire:
            for fields in (HTTPS, b"", HTTPS, b""):
                await client.wire.send(request(upstream.port, fields))
                assert (await soon(client.response())).status == 200
        kinds = [(type(one.wire), len(one.requests)) for one in upstream.connections]
        assert kinds == [(TlsWire, 2), (Wire, 2)]


def _peek(wire: Wire) -> bytes:
    try:
        return wire.sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return b""


async def test_large_bodies_pass_in_both_directions() -> None:
    async with (
        tls_origin(responding(lambda message: http_response(message.body))) as upstream,
        Proxy(local_config()) as proxy,
    ):
        client = await open_client(proxy)
        with client.wire:
            for _ in range(2):
                line = b"POST / HTTP/1.1"
                sending = asyncio.get_running_loop().create_task(
                    client.wire.send(request(upstream.port, HTTPS, BODY, line))
                )
                assert (await soon(client.response())).body == BODY
                await soon(sending)
        assert len(upstream.connections) == 1


async def test_all_framings_of_responses_pass() -> None:
    parts = [b"one", b"two" * 100_000, b"three"]
    for behaviour in (chunked(parts), until_close(parts), fixed_length(b"".join(parts))):
        async with tls_origin(behaviour) as upstream, Proxy(local_config()) as proxy:
            response = await response_to(proxy, request(upstream.port))
            assert response.body == b"".join(parts)


async def test_a_body_that_ends_without_close_notify_is_broken_off() -> None:
    async with (
        serving(until_close([b"half of it"]), TlsListener()) as upstream,
        Proxy(local_config()) as proxy,
    ):
        client = await open_client(proxy)
        with client.wire:
            await client.wire.send(request(upstream.port))
            with pytest.raises((ConnectionResetError, EOFError)):
                await soon(client.response())


async def test_a_client_that_does_not_read_pauses_the_upstream() -> None:
    async with (
        tls_origin(fixed_length(BODY)) as upstream,
        Proxy(local_config(limits=Limits(buffer=16 * 1024))) as proxy,
    ):
        client = await open_client(proxy)
        with client.wire:
            await client.wire.send(request(upstream.port))
            await soon(client.head())
            connection = await upstream.first_connection()
            # Both kernels are full, and the upstream cannot finish.
            assert not connection.is_closed.is_set()
            received = b""
            while len(received) < len(BODY):
                received += await soon(client.receive())
            assert received == BODY


async def test_a_websocket_works() -> None:
    async def echo_messages(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    context = server_context()
    async with (
        serve(echo_messages, "127.0.0.1", 0, ssl=context) as server,
        Proxy(local_config()) as proxy,
    ):
        port = next(iter(server.sockets)).getsockname()[1]
        async with connect(
            f"ws://127.0.0.1:{proxy.addresses[0].port}/",
            additional_headers={"X-Cmux-Port-Internal": str(port), "X-Cmux-Scheme": "https"},
        ) as websocket:
            await websocket.send("x" * 100_000)
            assert await soon(websocket.recv()) == "x" * 100_000


UPGRADE = HTTPS + b"Connection: upgrade\r\nUpgrade: chat\r\n"
SWITCH = b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n"


async def test_an_upgrade_keeps_half_closes_with_bytes_in_flight() -> None:
    listener = TlsListener()
    async with Proxy(local_config()) as proxy:
        client = await Wire.to("127.0.0.1", proxy.addresses[0].port)
        await client.send(request(listener.port, UPGRADE))
        upstream = await soon(listener.accept())
        assert await soon(upstream.receive())
        await upstream.send(SWITCH)
        assert (await soon(client.receive())).startswith(b"HTTP/1.1 101")
        sending = asyncio.get_running_loop().create_task(client.send(BODY))
        # The upstream ends while bytes of the client are on their way.
        await upstream.send(b"last words")
        await upstream.ends()
        assert await soon(client.receive_all()) == b"last words"
        received = b""
        while len(received) < len(BODY):
            received += await soon(upstream.receive())
        await soon(sending)
        client.end()
        assert await soon(upstream.receive()) == b""
        assert received == BODY
        client.close()
        upstream.close()
    listener.close()


async def test_a_reset_of_the_upstream_is_a_reset_for_the_client() -> None:
    listener = TlsListener()
    async with Proxy(local_config()) as proxy:
        client = await Wire.to("127.0.0.1", proxy.addresses[0].port)
        await client.send(request(listener.port, UPGRADE))
        upstream = await soon(listener.accept())
        await soon(upstream.receive())
        await upstream.send(SWITCH)
        await soon(client.receive())
        upstream.reset()
        with pytest.raises(ConnectionResetError):
            await soon(client.receive_all())
        client.close()
    listener.close()


async def test_a_connect_stays_raw() -> None:
    listener = WireListener()
    async with Proxy(upstreams(listener.port)) as proxy:
        client = await Wire.to("127.0.0.1", proxy.addresses[0].port)
        await client.send(request(listener.port, HTTPS, line=b"CONNECT a:1 HTTP/1.1"))
        upstream = await soon(listener.accept())
        await soon(client.receive())
        await client.send(b"raw")
        assert await soon(upstream.receive()) == b"raw"
        client.close()
        upstream.close()
    listener.close()


class TlsRouter(Router):
    """Sends everything to one port with TLS."""

    port = 0

    def route(self, method: bytes, host: bytes | None, fields: Any) -> Target:
        """Return the target."""
        return Target("127.0.0.1", self.port, "https")


async def test_a_router_may_choose_tls() -> None:
    async with tls_origin(responding(echo)) as upstream:
        router = TlsRouter("127.0.0.1")
        router.port = upstream.port
        async with Proxy(local_config(), router=router) as proxy:
            assert (await response_to(proxy, request(1, b""))).status == 200


async def test_a_connect_stays_raw_where_a_router_chooses_tls() -> None:
    listener = WireListener()
    router = TlsRouter("127.0.0.1")
    router.port = listener.port
    async with Proxy(local_config(), router=router) as proxy:
        client = await Wire.to("127.0.0.1", proxy.addresses[0].port)
        await client.send(request(1, b"", line=b"CONNECT a:1 HTTP/1.1"))
        upstream = await soon(listener.accept())
        await soon(client.receive())
        await client.send(b"raw")
        assert await soon(upstream.receive()) == b"raw"
        client.close()
        upstream.close()
    listener.close()


async def test_origin_gets_the_scheme_of_the_upstream() -> None:
    config = local_config(rewriting=Rewriting(host_header="upstream", rewrite_origin=True))
    async with tls_origin(responding(echo)) as upstream, Proxy(config) as proxy:
        fields = HTTPS + b"Origin: http://app.example\r\n"
        await response_to(proxy, request(upstream.port, fields))
        assert upstream.requests[0].field("origin") == f"https://localhost:{upstream.port}"


# Failures


def error_of(response: Message) -> tuple[int, str, str]:
    status = header(response, "proxy-status").partition("error=")[2].partition(";")[0]
    return response.status, status, response.body.decode().strip()


async def test_plain_http_where_tls_is_expected_is_told_so() -> None:
    async with origin(fixed_length(b"")) as upstream, Proxy(local_config()) as proxy:

        async def refuse(connection: OriginConnection) -> None:
            await connection.receive()
            await connection.send(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")

        async with origin(refuse) as upstream:
            response = await response_to(proxy, request(upstream.port))
            assert error_of(response) == (
                502, "tls_protocol_error",
                f"127.0.0.1:{upstream.port} does not speak TLS; leave out X-Cmux-Scheme: https "
                "and --https-port",
            )  # fmt: skip


async def test_tls_where_plain_http_is_expected_is_told_so() -> None:
    async def alert(connection: OriginConnection) -> None:
        await connection.receive()
        await connection.send(b"\x15\x03\x03\x00\x02\x02\x0a")

    remedy = "send X-Cmux-Scheme: https, or use --https-port"
    async with Proxy(local_config()) as proxy:
        async with origin(alert) as upstream:
            response = await response_to(proxy, request(upstream.port, b""))
            assert error_of(response) == (
                502, "http_protocol_error", f"127.0.0.1:{upstream.port} speaks TLS; {remedy}",
            )  # fmt: skip
        async with tls_origin(responding(echo)) as upstream:
            response = await response_to(proxy, request(upstream.port, b""))
            assert error_of(response) == (
                502, "connection_terminated",
                f"127.0.0.1:{upstream.port} closed the connection without an answer; if it speaks "
                f"TLS, {remedy}",
            )  # fmt: skip


async def test_an_upstream_that_closes_during_the_handshake_is_a_502() -> None:
    async def leave(connection: OriginConnection) -> None:
        await connection.receive()

    async with origin(leave) as upstream, Proxy(local_config()) as proxy:
        response = await response_to(proxy, request(upstream.port))
        assert error_of(response) == (
            502, "connection_terminated",
            f"the TLS handshake with 127.0.0.1:{upstream.port} failed: the peer closed the "
            "connection",
        )  # fmt: skip


async def test_an_upstream_that_resets_during_the_handshake_is_a_502() -> None:
    async def leave(connection: OriginConnection) -> None:
        await connection.receive()
        connection.wire.reset()

    async with origin(leave) as upstream, Proxy(local_config()) as proxy:
        response = await response_to(proxy, request(upstream.port))
        assert error_of(response)[:2] == (502, "connection_terminated")


async def test_an_upstream_that_wants_a_certificate_is_a_502() -> None:
    listener = TlsListener()
    listener.context.maximum_version = ssl.TLSVersion.TLSv1_2
    listener.context.verify_mode = ssl.CERT_REQUIRED
    async with serving(responding(echo), listener) as upstream, Proxy(local_config()) as proxy:
        response = await response_to(proxy, request(upstream.port))
        assert error_of(response)[:2] == (502, "tls_alert_received")


async def test_the_handshake_counts_within_the_connect_timeout() -> None:
    listener = WireListener()
    config = local_config(timeouts=Timeouts(connect=0.05))
    async with Proxy(config) as proxy:
        client = await open_client(proxy)
        await client.wire.send(request(listener.port))
        upstream = await soon(listener.accept())
        assert error_of(await soon(client.response())) == (
            504, "connection_timeout", f"no connection to 127.0.0.1:{listener.port} within 0.05 s",
        )  # fmt: skip
        # The dial has ended too.
        with contextlib.suppress(ConnectionResetError):
            await soon(upstream.receive_all())
        assert proxy.services.pool.target_pool(
            Target("127.0.0.1", listener.port, "https")
        ).open == 0  # fmt: skip
        client.wire.close()
        upstream.close()
    listener.close()


async def test_a_client_that_leaves_ends_the_handshake() -> None:
    listener = WireListener()
    async with Proxy(local_config()) as proxy:
        client = await open_client(proxy)
        await client.wire.send(request(listener.port))
        upstream = await soon(listener.accept())
        await soon(upstream.receive())
        client.wire.reset()
        try:
            assert await soon(upstream.receive()) == b""
        except ConnectionResetError:
            pass
        upstream.close()
    listener.close()


async def test_a_port_that_refuses_is_refused() -> None:
    listener = WireListener()
    listener.close()
    async with Proxy(local_config()) as proxy:
        response = await response_to(proxy, request(listener.port))
        assert error_of(response)[:2] == (502, "connection_refused")


# Certificates


@pytest.mark.parametrize(
    ("certificate", "reason"),
    [
        (leaf("localhost"), ""),
        (leaf("other.example"), "Hostname mismatch"),
        (expired_leaf("localhost"), "certificate has expired"),
    ],
    ids=["good", "of another name", "expired"],
)
async def test_authorities_check_certificates_on_the_loopback_too(
    tmp_path: Path, certificate: Any, reason: str
) -> None:
    config = upstreams(ca=write_authority(tmp_path))
    async with tls_origin(responding(echo), certificate) as upstream, Proxy(config) as proxy:
        response = await response_to(proxy, request(upstream.port))
        if not reason:
            assert response.status == 200
            return
        status, error, text = error_of(response)
        assert (status, error) == (502, "tls_certificate_error")
        assert reason in text
        assert text.endswith("; name its authority with --upstream-ca")
        assert upstream.requests == []


async def test_any_certificate_is_good_on_the_loopback_without_authorities() -> None:
    async with (
        tls_origin(responding(echo), expired_leaf("other.example")) as upstream,
        Proxy(local_config()) as proxy,
    ):
        assert (await response_to(proxy, request(upstream.port))).status == 200


async def test_elsewhere_the_authorities_of_the_system_are_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The name of another machine leads here."""

    async def at_home(self: Any, host: str, port: int) -> Any:
        infos: list[Any] = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]
        return dns_cache.ResolvedName(infos, True)

    monkeypatch.setattr(dns_cache.DnsCache, "resolve", at_home)
    monkeypatch.setattr(dns_cache.DnsCache, "has_address", lambda *_: True)
    config = local_config(upstream_host="machine.example")
    certificate = leaf("machine.example")
    listener = TlsListener(certificate)
    async with serving(responding(echo), listener) as upstream:
        async with Proxy(config) as proxy:
            response = await response_to(proxy, request(upstream.port))
            assert error_of(response)[:2] == (502, "tls_certificate_error")
        assert listener.names == ["machine.example"]
        monkeypatch.setenv("SSL_CERT_FILE", write_authority(tmp_path))
        async with Proxy(config) as proxy:
            assert (await response_to(proxy, request(upstream.port))).status == 200


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_bad_file_of_authorities_is_one_line_and_status_1(
    workers: str, tmp_path: Path, loop_name: str
) -> None:
    empty = tmp_path / "empty"
    empty.write_text("")
    for path, expected in (
        (tmp_path / "missing", f"cannot read {tmp_path / 'missing'}: No such file or directory"),
        (empty, f"{empty} has no certificate of an authority in PEM format"),
    ):
        result = await finish(
            *MODULE, *loop_flags(loop_name), "--listen", "127.0.0.1:0", "--workers", workers,
            "--upstream-ca", str(path), variables=environment(),
        )  # fmt: skip
        assert (result.status, result.out) == (1, b"")
        [line] = result.errors.decode().splitlines()
        assert line.startswith(f"cmux-proxy: error: {expected}")
    with pytest.raises(CertificateError, match="has no certificate"):
        await Proxy(upstreams(ca=str(empty))).start()


# What is left behind


async def test_connections_that_are_over_do_not_wait_for_the_garbage_collector() -> None:
    async with (
        tls_origin(responding(echo)) as upstream,
        tls_origin(close_early) as silent,
        Proxy(local_config()) as proxy,
    ):
        gc.disable()
        try:
            for one in (upstream, silent):
                await response_to(proxy, request(one.port))
            await until_closed(proxy, upstream, silent)
            sessions = [one for one in gc.get_objects() if isinstance(one, ssl.SSLObject)]
            assert not [one for one in sessions if not one.server_side]
        finally:
            gc.enable()


async def until_closed(proxy: Proxy, *origins: Origin) -> None:
    """Wait until the connections of the proxy to some upstreams are closed on both sides."""
    for idle in proxy.services.pool.drain():
        idle.close()
    for one in origins:
        for connection in one.connections:
            await soon(connection.is_closed.wait())
    while len(proxy.services.registry):  # noqa: ASYNC110
        await asyncio.sleep(0)
    for _ in range(10):
        await asyncio.sleep(0)
