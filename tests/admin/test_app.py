"""The paths of the admin listener, requested over real sockets with aiohttp's own client."""

import asyncio
import base64
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Sequence

import pytest
from aiohttp import ClientSession, TCPConnector
from aiohttp.typedefs import LooseHeaders

from cmux_proxy.admin.app import AdminApp
from cmux_proxy.admin.connections import ConnectionTimeouts
from cmux_proxy.admin.event_stream import WRITE_TIMEOUT
from cmux_proxy.admin.reachability import UNKNOWN
from cmux_proxy.config.sections import Access
from cmux_proxy.net.tls_contexts import TlsServer
from cmux_proxy.observe.worker_stats import WorkerStats
from cmux_proxy.server.admin import AdminListener
from tests.helpers.script import head
from tests.helpers.snapshots import GET, OK, ROUTE, ObservedWorker
from tests.helpers.timing import SOON, soon


class FakeSource:
    """A source of the statistics of some workers in this process."""

    def __init__(self, count: int = 1) -> None:
        self.observed = [ObservedWorker() for _ in range(count)]
        self.requests = 0

    async def workers(self, max_connections: int) -> list[WorkerStats]:
        """Return their statistics."""
        self.requests += 1
        return [worker.stats(max_connections) for worker in self.observed]


@contextlib.asynccontextmanager
async def admin(
    source: FakeSource,
    tokens: Sequence[str] = (),
    has_port_metrics: bool = False,
    hosts: Sequence[str] = (),
    max_connections: int = 64,
    max_readers: int = 48,
    timeouts: ConnectionTimeouts | None = None,
    write_timeout: float = WRITE_TIMEOUT,
    tls: TlsServer | None = None,
) -> AsyncIterator[ClientSession]:
    """Serve an admin listener, and give a client of it."""
    sock = socket.create_server(("127.0.0.1", 0))
    port = sock.getsockname()[1]
    access = Access(tokens=tokens, allow_hosts=hosts)
    app = AdminApp(source, access, has_port_metrics, UNKNOWN, max_readers, write_timeout)
    listener = AdminListener(app, [sock], max_connections, timeouts, tls)
    await listener.start()
    try:
        connector = TCPConnector(force_close=True)
        async with ClientSession(f"http://127.0.0.1:{port}", connector=connector) as session:
            yield session
    finally:
        await soon(listener.close())


async def ask(session: ClientSession, path: str, **fields: str) -> tuple[int, str]:
    """Return the status and the text of a response."""
    headers: LooseHeaders = {name.replace("_", "-"): value for name, value in fields.items()}
    async with session.get(path, headers=headers) as response:
        return response.status, await response.text()


async def test_it_is_healthy_and_is_ready_until_it_drains() -> None:
    source = FakeSource(2)
    async with admin(source) as session:
        assert await ask(session, "/healthz") == (200, "ok\n")
        assert await ask(session, "/readyz") == (200, "ready\n")
        source.observed[1].world.services.registry.is_draining = True
        assert await ask(session, "/healthz") == (200, "ok\n")
        assert await ask(session, "/readyz") == (503, "draining\n")


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/activity", "/connections"])
async def test_it_is_not_healthy_where_no_worker_responds(path: str) -> None:
    async with admin(FakeSource(0)) as session:
        assert await ask(session, path) == (503, "no worker responds\n")


async def test_lists_are_json() -> None:
    source = FakeSource()
    _, upstream = source.observed[0].world.ask(GET)
    upstream.arrives(OK)
    async with admin(source) as session:
        status, text = await ask(session, "/activity")
        assert (status, json.loads(text)["ports"][0]["total_requests"]) == (200, 1)
        status, text = await ask(session, "/connections")
        assert (status, json.loads(text)["connections"][0]["state"]) == (200, "idle")


async def test_ports_are_those_of_the_machine() -> None:
    async with admin(FakeSource()) as session:
        status, text = await ask(session, "/ports")
        assert status == 200
        port = session_port(session)
        own = [entry for entry in json.loads(text)["listening"] if entry["port"] == port]
        assert [(entry["address"], entry["family"]) for entry in own] == [("127.0.0.1", "IPv4")]


def session_port(session: ClientSession) -> int:
    """Return the port of the listener; aiohttp has no public attribute for it."""
    base = session._base_url
    assert base is not None
    assert base.port is not None
    return base.port


async def test_metrics_are_in_the_format_that_is_requested() -> None:
    async with admin(FakeSource(), has_port_metrics=True) as session:
        status, text = await ask(session, "/metrics")
        assert status == 200
        assert "\ncmux_proxy_workers 1.0\n" in text
        assert "# EOF" not in text
        accept = "application/openmetrics-text; version=1.0.0"
        _, text = await ask(session, "/metrics", Accept=accept)
        assert text.endswith("# EOF\n")


@pytest.mark.parametrize("version", ["x", '"1.0.0"', "1.x", ""])
async def test_an_invalid_version_gets_metrics_too(version: str) -> None:
    async with admin(FakeSource()) as session:
        for media_type in ("application/openmetrics-text", "text/plain"):
            accept = f"{media_type}; version={version}"
            status, text = await ask(session, "/metrics", Accept=accept)
            assert (status, "\ncmux_proxy_workers 1.0\n" in text) == (200, True)


async def test_nothing_is_cached_framed_or_sniffed() -> None:
    async with admin(FakeSource()) as session, session.get("/activity") as response:
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]


@pytest.mark.parametrize("host", ["evil.example", "evil.example:9179", "127.0.0.1.evil.example"])
async def test_a_host_name_that_could_be_rebound_is_refused(host: str) -> None:
    async with admin(FakeSource()) as session:
        for path in ("/activity", "/healthz", "/"):
            assert (await ask(session, path, Host=host))[0] == 421


@pytest.mark.parametrize("host", ["localhost", "localhost:1", "LOCALHOST.", "[::1]:1", "10.0.0.1"])
async def test_addresses_and_localhost_are_served(host: str) -> None:
    async with admin(FakeSource()) as session:
        assert (await ask(session, "/healthz", Host=host))[0] == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("proxy.internal:9179", 200), ("PROXY.internal.", 200), ("a.b.example", 200),
        ("127.0.0.1:1", 200), ("localhost", 200),
        ("internal:9179", 421), ("example", 421), ("proxy.internal.evil.example.com", 421),
    ],
)  # fmt: skip
async def test_hosts_that_the_proxy_allows_are_served(host: str, status: int) -> None:
    async with admin(FakeSource(), hosts=["proxy.internal", "*.example"]) as session:
        assert (await ask(session, "/metrics", Host=host))[0] == status


async def test_where_there_are_tokens_one_is_needed_except_for_health_checks() -> None:
    async with admin(FakeSource(), ["good-1", "good-2"]) as session:
        for path in ("/activity", "/metrics", "/", "/events", "/nowhere"):
            assert (await ask(session, path))[0] == 401
        for wrong in ("Bearer bad", "Bearer ", "good-1", "Basic !", "Bearer good-1x"):
            assert (await ask(session, "/activity", Authorization=wrong))[0] == 401
        assert (await ask(session, "/activity", Authorization="Bearer good-2"))[0] == 200
        assert (await ask(session, "/activity", X_Cmux_Token="good-1"))[0] == 200
        basic = f"Basic {base64.b64encode(b'anybody:good-1').decode()}"
        assert (await ask(session, "/activity", Authorization=basic))[0] == 200
        assert (await ask(session, "/healthz"))[0] == 200
        assert (await ask(session, "/readyz"))[0] == 200
        async with session.get("/") as response:
            assert response.headers["WWW-Authenticate"].startswith("Basic ")


async def test_an_unknown_path_is_a_404_and_another_method_a_405() -> None:
    async with admin(FakeSource()) as session:
        assert (await ask(session, "/nowhere"))[0] == 404
        async with session.post("/activity") as response:
            assert response.status == 405


async def test_events_are_sent_until_the_reader_leaves() -> None:
    source = FakeSource()
    async with admin(source) as session, session.get("/events") as response:
        assert response.content_type == "text/event-stream"
        line = await soon(response.content.readline())
        assert line.startswith(b"data: ")
        assert json.loads(line[6:])["requests"] == 0
        # An open stream does not delay the end.


async def test_an_event_is_small_whatever_clients_send() -> None:
    source = FakeSource()
    [worker] = source.observed
    path = "/" + "p" * 15_000
    for number in range(200):
        workspace = f"X-Cmux-Workspace-Internal: {'w' * 250}-{number}"
        request = head(
            f"GET {path} HTTP/1.1", "Host: a", ROUTE, workspace, "Connection: upgrade", "Upgrade: b"
        )
        _, upstream = worker.world.ask(request)
        upstream.arrives(head("HTTP/1.1 101 S", "Connection: upgrade", "Upgrade: b"))
    app = AdminApp(source, Access(), False)
    event = await soon(app.make_event())
    assert len(json.loads(event[6:])["open_tunnels"]) == 200
    # Paths and workspaces at their maximum length, and all other fields.
    assert len(event) < 200 * (2048 + 255) + 300_000


async def test_many_readers_of_events_cost_what_one_does() -> None:
    source = FakeSource()

    async def first_event(session: ClientSession) -> None:
        async with session.get("/events") as response:
            assert (await response.content.readuntil()).startswith(b"data: ")

    async with admin(source) as session:
        async with asyncio.timeout(SOON), asyncio.TaskGroup() as group:
            for _ in range(40):
                group.create_task(first_event(session))
        assert source.requests < 10


async def test_readers_of_events_that_cannot_be_made_get_a_503_at_once() -> None:
    async with admin(FakeSource(0)) as session:
        requests = [ask(session, "/events") for _ in range(10)]
        assert await soon(asyncio.gather(*requests)) == [(503, "no worker responds\n")] * 10


async def test_head_of_events_has_no_body() -> None:
    async with admin(FakeSource()) as session:
        reader, writer = await asyncio.open_connection("127.0.0.1", session_port(session))
        writer.write(head("HEAD /events HTTP/1.1", "Host: localhost"))
        writer.write(head("GET /healthz HTTP/1.1", "Host: localhost", "Connection: close"))
        first = await soon(reader.readuntil(b"\r\n\r\n"))
        assert b"Content-Type: text/event-stream" in first
        assert (await soon(reader.read())).startswith(b"HTTP/1.1 200 OK\r\n")
        writer.close()


async def test_a_405_names_the_methods_that_are_allowed() -> None:
    async with admin(FakeSource()) as session, session.post("/activity") as response:
        assert (response.status, response.headers["Allow"]) == (405, "GET,HEAD")
