"""The admin listener on several sockets, one of them at a path."""

import asyncio
import logging
import socket
from pathlib import Path

import pytest
from aiohttp import ClientSession, UnixConnector

from cmux_proxy.admin.admin_site import DefectFilter
from cmux_proxy.admin.app import AdminApp
from cmux_proxy.config.sections import Access
from cmux_proxy.server.admin import AdminListener
from tests.admin.test_app import FakeSource
from tests.helpers.script import head
from tests.helpers.timing import soon


def listening(*sockets: socket.socket) -> AdminListener:
    """Return an admin listener on sockets."""
    return AdminListener(AdminApp(FakeSource(), Access(), False), sockets, 64)


async def test_it_serves_all_its_sockets_and_closes_them(tmp_path: Path) -> None:
    path = str(tmp_path / "admin.sock")
    at_path = socket.socket(socket.AF_UNIX)
    at_path.bind(path)
    at_path.listen()
    at_port = socket.create_server(("127.0.0.1", 0))
    port = at_port.getsockname()[1]
    listener = listening(at_path, at_port)
    await listener.start()
    for connector, host in ((UnixConnector(path), "localhost"), (None, f"127.0.0.1:{port}")):
        async with (
            ClientSession(connector=connector) as session,
            session.get(f"http://{host}/healthz") as response,
        ):
            assert response.status == 200
    await soon(listener.close())
    assert at_port.fileno() == at_path.fileno() == -1


@pytest.mark.parametrize("data", [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nA: " + b"a" * 99_999])
async def test_a_client_that_does_not_speak_http_gets_a_400_and_is_not_logged(
    data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    sock = socket.create_server(("127.0.0.1", 0))
    address = sock.getsockname()
    listener = listening(sock)
    await listener.start()
    reader, writer = await asyncio.open_connection(*address)
    writer.write(data)
    assert (await soon(reader.readline())).endswith(b" 400 Bad Request\r\n")
    writer.close()
    await soon(listener.close())
    assert not caplog.records


@pytest.mark.parametrize("error", [KeyError("a defect"), None])
def test_a_defect_is_logged(error: Exception | None) -> None:
    exc_info = None if error is None else (type(error), error, None)
    record = logging.LogRecord("x", logging.ERROR, "", 0, "text", None, exc_info)
    assert DefectFilter().filter(record)


async def test_a_request_without_host_is_served(tmp_path: Path) -> None:
    path = str(tmp_path / "admin.sock")
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(path)
    sock.listen()
    listener = listening(sock)
    await listener.start()
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(head("GET /healthz HTTP/1.0"))
    assert (await soon(reader.read())).startswith(b"HTTP/1.0 200 OK")
    writer.close()
    await soon(listener.close())
