"""The admin listener on several sockets, one of them at a path."""

import socket
from pathlib import Path

from aiohttp import ClientSession, UnixConnector

from cmux_proxy.admin.serving import AdminListener
from tests.admin.test_app import Told
from tests.helpers.timing import soon


async def test_it_answers_on_all_its_sockets_and_closes_them(tmp_path: Path) -> None:
    path = str(tmp_path / "admin.sock")
    at_path = socket.socket(socket.AF_UNIX)
    at_path.bind(path)
    at_path.listen()
    at_port = socket.create_server(("127.0.0.1", 0))
    port = at_port.getsockname()[1]
    listener = AdminListener(Told(), [at_path, at_port], (), False)
    await listener.start()
    for connector, host in ((UnixConnector(path), "localhost"), (None, f"127.0.0.1:{port}")):
        async with (
            ClientSession(connector=connector) as session,
            session.get(f"http://{host}/healthz") as answer,
        ):
            assert answer.status == 200
    await soon(listener.close())
    assert at_port.fileno() == at_path.fileno() == -1
