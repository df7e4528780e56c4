"""The pages of the admin listener, asked for over real sockets with aiohttp's own client."""

import asyncio
import base64
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from aiohttp import ClientSession, TCPConnector
from aiohttp.typedefs import LooseHeaders

from cmux_proxy.admin.app import Pages
from cmux_proxy.admin.reachability import UNKNOWN
from cmux_proxy.config.sections import Access
from cmux_proxy.server.admin import AdminListener
from tests.helpers.script import head
from tests.helpers.snapshots import GET, OK, ROUTE, Counted
from tests.helpers.timing import SOON, soon


class Told:
    """A source that tells of some workers."""

    def __init__(self, count: int = 1) -> None:
        self.workers = [Counted() for _ in range(count)]
        self.asked = 0

    async def snapshots(self, most: int) -> list[dict[str, Any]]:
        """Return theirs."""
        self.asked += 1
        return [each.told(most) for each in self.workers]


@contextlib.asynccontextmanager
async def admin(
    source: Told,
    tokens: Sequence[str] = (),
    per_port: bool = False,
    hosts: Sequence[str] = (),
    most: int = 64,
    readers: int = 48,
) -> AsyncIterator[ClientSession]:
    """Serve, and give a client of it."""
    sock = socket.create_server(("127.0.0.1", 0))
    port = sock.getsockname()[1]
    pages = Pages(source, Access(tokens=tokens, allow_hosts=hosts), per_port, UNKNOWN, readers)
    listener = AdminListener(pages, [sock], most)
    await listener.start()
    try:
        connector = TCPConnector(force_close=True)
        async with ClientSession(f"http://127.0.0.1:{port}", connector=connector) as session:
            yield session
    finally:
        await soon(listener.close())


async def ask(session: ClientSession, path: str, **fields: str) -> tuple[int, str]:
    """Return the status and the text of an answer."""
    headers: LooseHeaders = {name.replace("_", "-"): value for name, value in fields.items()}
    async with session.get(path, headers=headers) as answer:
        return answer.status, await answer.text()


async def test_it_says_that_it_lives_and_that_it_is_ready_until_it_drains() -> None:
    source = Told(2)
    async with admin(source) as session:
        assert await ask(session, "/healthz") == (200, "ok\n")
        assert await ask(session, "/readyz") == (200, "ready\n")
        source.workers[1].world.context.is_draining = True
        assert await ask(session, "/healthz") == (200, "ok\n")
        assert await ask(session, "/readyz") == (503, "draining\n")


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/activity", "/connections"])
async def test_where_no_worker_answers_it_does_not_live(path: str) -> None:
    async with admin(Told(0)) as session:
        assert await ask(session, path) == (503, "no worker answers\n")


async def test_lists_are_json() -> None:
    source = Told()
    _, upstream = source.workers[0].world.ask(GET)
    upstream.arrives(OK)
    async with admin(source) as session:
        status, text = await ask(session, "/activity")
        assert (status, json.loads(text)["ports"][0]["total_requests"]) == (200, 1)
        status, text = await ask(session, "/connections")
        assert (status, json.loads(text)["connections"][0]["state"]) == (200, "idle")


async def test_ports_are_those_of_the_machine() -> None:
    async with admin(Told()) as session:
        status, text = await ask(session, "/ports")
        assert status == 200
        port = session_port(session)
        own = [each for each in json.loads(text)["listening"] if each["port"] == port]
        assert [(each["address"], each["family"]) for each in own] == [("127.0.0.1", "IPv4")]


def session_port(session: ClientSession) -> int:
    base = session._base_url
    assert base is not None
    assert base.port is not None
    return base.port


async def test_metrics_are_in_the_format_that_is_asked_for() -> None:
    async with admin(Told(), per_port=True) as session:
        status, text = await ask(session, "/metrics")
        assert status == 200
        assert "\ncmux_proxy_workers 1.0\n" in text
        assert "# EOF" not in text
        kind = "application/openmetrics-text; version=1.0.0"
        _, text = await ask(session, "/metrics", Accept=kind)
        assert text.endswith("# EOF\n")


@pytest.mark.parametrize("version", ["x", '"1.0.0"', "1.x", ""])
async def test_a_version_that_is_none_gets_some_metrics_all_the_same(version: str) -> None:
    async with admin(Told()) as session:
        for kind in ("application/openmetrics-text", "text/plain"):
            status, text = await ask(session, "/metrics", Accept=f"{kind}; version={version}")
            assert (status, "\ncmux_proxy_workers 1.0\n" in text) == (200, True)


async def test_nothing_is_kept_framed_or_sniffed() -> None:
    async with admin(Told()) as session, session.get("/activity") as answer:
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize("host", ["evil.example", "evil.example:9179", "127.0.0.1.evil.example"])
async def test_a_name_that_anybody_can_point_here_is_refused(host: str) -> None:
    async with admin(Told()) as session:
        for path in ("/activity", "/healthz", "/"):
            assert (await ask(session, path, Host=host))[0] == 421


@pytest.mark.parametrize("host", ["localhost", "localhost:1", "LOCALHOST.", "[::1]:1", "10.0.0.1"])
async def test_addresses_and_localhost_are_answered(host: str) -> None:
    async with admin(Told()) as session:
        assert (await ask(session, "/healthz", Host=host))[0] == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("proxy.internal:9179", 200), ("PROXY.internal.", 200), ("a.b.example", 200),
        ("127.0.0.1:1", 200), ("localhost", 200),
        ("internal:9179", 421), ("example", 421), ("proxy.internal.evil.example.com", 421),
    ],
)  # fmt: skip
async def test_names_that_the_proxy_allows_are_the_listeners_too(host: str, status: int) -> None:
    async with admin(Told(), hosts=["proxy.internal", "*.example"]) as session:
        assert (await ask(session, "/metrics", Host=host))[0] == status


async def test_where_there_are_tokens_one_is_needed_but_for_probes() -> None:
    async with admin(Told(), ["good-1", "good-2"]) as session:
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
        async with session.get("/") as answer:
            assert answer.headers["WWW-Authenticate"].startswith("Basic ")


async def test_what_is_not_there_and_what_would_change_something_is_refused() -> None:
    async with admin(Told()) as session:
        assert (await ask(session, "/nowhere"))[0] == 404
        async with session.post("/activity") as answer:
            assert answer.status == 405


async def test_events_tell_news_until_the_reader_leaves() -> None:
    source = Told()
    async with admin(source) as session, session.get("/events") as answer:
        assert answer.content_type == "text/event-stream"
        line = await soon(answer.content.readline())
        assert line.startswith(b"data: ")
        assert json.loads(line[6:])["requests"] == 0
        # One that is open does not hold up the end.


async def test_an_event_is_small_whatever_clients_send() -> None:
    source = Told()
    [worker] = source.workers
    path = "/" + "p" * 15_000
    for number in range(200):
        workspace = f"X-Cmux-Workspace-Internal: {'w' * 250}-{number}"
        request = head(
            f"GET {path} HTTP/1.1", "Host: a", ROUTE, workspace, "Connection: upgrade", "Upgrade: b"
        )
        _, upstream = worker.world.ask(request)
        upstream.arrives(head("HTTP/1.1 101 S", "Connection: upgrade", "Upgrade: b"))
    pages = Pages(source, Access(), False)
    event = await soon(pages._make_event())
    assert len(json.loads(event[6:])["open_tunnels"]) == 200
    # Paths and workspaces as they are cut, and all else.
    assert len(event) < 200 * (2048 + 255) + 300_000


async def test_many_who_read_events_at_a_time_cost_what_one_does() -> None:
    source = Told()

    async def first_event(session: ClientSession) -> None:
        async with session.get("/events") as answer:
            assert (await answer.content.readuntil()).startswith(b"data: ")

    async with admin(source) as session:
        async with asyncio.timeout(SOON), asyncio.TaskGroup() as group:
            for _ in range(40):
                group.create_task(first_event(session))
        assert source.asked < 10


async def test_nobody_who_reads_events_waits_for_the_others_to_get_none() -> None:
    async with admin(Told(0)) as session:
        asked = [ask(session, "/events") for _ in range(10)]
        assert await soon(asyncio.gather(*asked)) == [(503, "no worker answers\n")] * 10


async def test_the_head_of_events_is_not_followed_by_any() -> None:
    async with admin(Told()) as session:
        reader, writer = await asyncio.open_connection("127.0.0.1", session_port(session))
        writer.write(head("HEAD /events HTTP/1.1", "Host: localhost"))
        writer.write(head("GET /healthz HTTP/1.1", "Host: localhost", "Connection: close"))
        first = await soon(reader.readuntil(b"\r\n\r\n"))
        assert b"Content-Type: text/event-stream" in first
        assert (await soon(reader.read())).startswith(b"HTTP/1.1 200 OK\r\n")
        writer.close()


async def test_whoever_would_change_something_is_told_what_there_is() -> None:
    async with admin(Told()) as session, session.post("/activity") as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "GET,HEAD")
