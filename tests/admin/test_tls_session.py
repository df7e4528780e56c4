"""TLS on the admin listener, beside plain HTTP."""

import ssl
from contextlib import AbstractAsyncContextManager
from typing import Any

from aiohttp import ClientSession

from cmux_proxy.admin.connections import ConnectionTimeouts
from cmux_proxy.net.tls_contexts import TlsServer
from tests.admin.test_app import FakeSource, admin, session_port
from tests.helpers.timing import MS, soon
from tests.helpers.tls import TlsClient, client_context, leaf
from tests.helpers.wire import Wire


def admin_with_tls(
    source: FakeSource | None = None, **options: Any
) -> AbstractAsyncContextManager[ClientSession]:
    """Serve an admin listener with a certificate for localhost."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf("localhost", "127.0.0.1").configure_cert(context)
    return admin(source or FakeSource(), tls=TlsServer(context), **options)


async def test_both_are_served_on_one_port() -> None:
    async with admin_with_tls() as session:
        url = f"https://localhost:{session_port(session)}/healthz"
        for _ in range(2):
            async with session.get(url, ssl=client_context()) as response:
                assert (response.status, await response.text()) == (200, "ok\n")
            async with session.get("/healthz") as response:
                assert (response.status, await response.text()) == (200, "ok\n")


async def test_a_large_page_passes_and_the_connection_is_kept() -> None:
    async with admin_with_tls(FakeSource(2)) as session:
        port = session_port(session)
        client = TlsClient(await Wire.to("127.0.0.1", port), client_context(), "localhost")
        await client.open()
        for _ in range(2):
            await client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            while b"</html>" not in client.peer.received:
                await client.receive(len(client.peer.received) + 1)
            assert client.peer.received.startswith(b"HTTP/1.1 200 OK")
            client.peer.received.clear()
        client.wire.close()


async def test_a_failed_handshake_closes_the_connection() -> None:
    async with admin_with_tls() as session:
        wire = await Wire.to("127.0.0.1", session_port(session))
        await wire.send(b"\x16\x03\x01\x00\x05hello")
        # An alert, and the end.
        assert (await soon(wire.receive_all()))[:1] == b"\x15"
        wire.close()


async def test_a_handshake_has_the_timeout_of_a_head() -> None:
    timeouts = ConnectionTimeouts(head=50 * MS, idle=50 * MS)
    async with admin_with_tls(timeouts=timeouts) as session:
        for first in (b"", b"\x16", b"\x16\x03\x01\x01"):
            wire = await Wire.to("127.0.0.1", session_port(session))
            await wire.send(first)
            assert await soon(wire.receive_all()) == b""
            wire.close()


async def test_a_client_that_leaves_before_or_in_its_handshake_is_forgotten() -> None:
    async with admin_with_tls() as session:
        for first in (b"", b"\x16\x03"):
            wire = await Wire.to("127.0.0.1", session_port(session))
            await wire.send(first)
            wire.end()
            assert await soon(wire.receive_all()) == b""
            wire.close()
