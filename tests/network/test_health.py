"""Health on the public port: when it is 200 and 503, whom it serves, and what it leaves alone."""

import asyncio
import signal
from pathlib import Path

import pytest

from cmux_proxy import Access, Observability, Paths, PortMissing, Proxy, Record, Router, Timeouts
from cmux_proxy.routing.target import Target
from cmux_proxy.server.supervisor import KILL_GRACE
from tests.helpers.h2_peer import H2Peer
from tests.helpers.proxies import ProxyProcess, local_config, proxy_process
from tests.helpers.script import ROUTE, Stage, get, head, stage
from tests.helpers.timing import SOON, later, soon
from tests.helpers.tls import write_authority
from tests.helpers.tools import finish, tool
from tests.helpers.wire import Wire
from tests.network.test_tls import config as tls_config

CLOSE = "Connection: close"
HEALTH = head("GET /.cmux/health HTTP/1.1", "Host: a", CLOSE)
NEVER = 3600.0


async def asked(port: int, request: bytes) -> tuple[int, bytes]:
    """Return the status of a response, and all its bytes."""
    with await Wire.to("127.0.0.1", port) as wire:
        await wire.send(request)
        response = await later(wire.receive_all())
    return int(response.split(b" ")[1]), response


async def status(on: Stage, request: bytes) -> int:
    return (await asked(on.address.port, request))[0]


async def test_health_is_one_line_that_names_no_error() -> None:
    async with stage() as on:
        _, response = await asked(on.address.port, HEALTH)
    lines, _, body = response.partition(b"\r\n\r\n")
    assert body == b"ok\n"
    fields = lines.lower().split(b"\r\n")
    assert fields[0] == b"http/1.1 200 ok"
    assert b"cache-control: no-store" in fields
    assert b"proxy-status: cmux-proxy" in fields


@pytest.mark.parametrize(
    ("request_line", "fields", "expected"),
    [
        ("GET /.cmux/health HTTP/1.0", [], 200),
        ("HEAD /.cmux/health HTTP/1.1", ["Host: a", CLOSE], 200),
        ("GET /.cmux/health?probe=1 HTTP/1.1", ["Host: a", CLOSE], 200),
        ("GET http://a/.cmux/health HTTP/1.1", ["Host: a", CLOSE], 200),
        ("GET /healthz HTTP/1.1", ["Host: a", CLOSE], 200),
        ("GET /healthz/ HTTP/1.1", ["Host: a", CLOSE], 400),
        ("GET /.cmux//health HTTP/1.1", ["Host: a", CLOSE], 400),
        ("GET /.cmux/health HTTP/1.1", ["Host: a", CLOSE, "X-Cmux-Port-Internal: 0"], 400),
        ("GET /.cmux/health HTTP/1.1", [CLOSE], 400),
        ("POST /.cmux/health HTTP/1.1", ["Host: a", "Content-Length: 0", CLOSE], 405),
        ("CONNECT a:1 HTTP/1.1", ["Host: a:1"], 400),
        ("GET /.cmux/health HTTP/1.1", ["Host: a", CLOSE, "X-Cmux-Wait: soon"], 400),
        (
            "GET /.cmux/health HTTP/1.1",
            ["Host: a", "Connection: upgrade, close", "Upgrade: websocket"],
            400,
        ),
    ],
)
async def test_which_requests_are_answered(
    request_line: str, fields: list[str], expected: int
) -> None:
    async with stage(local_config(paths=Paths(health_path="/healthz"))) as on:
        _, response = await asked(on.address.port, head(request_line, *fields))
    assert response.startswith(b"HTTP/1.1 %d " % expected)
    assert (b"\r\nAllow: GET, HEAD\r\n" in response) is (expected == 405)
    if request_line.startswith("HEAD"):
        assert response.endswith(b"\r\n\r\n")


async def test_a_connection_is_kept_for_the_next_request() -> None:
    async with stage() as on:
        client = await on.client()
        for _ in range(2):
            await client.says(head("GET /.cmux/health HTTP/1.1", "Host: a"))
            assert b"\r\n\r\nok\n" in await soon(client.wire.receive())
        await client.says(get())
        upstream = await on.upstream()
        await upstream.gets(head("GET / HTTP/1.1", "Host: a"))


@pytest.mark.parametrize("host", ["a", "<port>.localhost"])
async def test_a_service_keeps_a_path_of_the_same_name(host: str) -> None:
    fields = [ROUTE] if host == "a" else []
    async with stage() as on:
        host = host.replace("<port>", str(on.port))
        _, upstream = await on.pair(head("GET /.cmux/health HTTP/1.1", f"Host: {host}", *fields))
        received = await soon(upstream.wire.receive())
    assert received.startswith(b"GET /.cmux/health HTTP/1.1\r\n")


class OnePort(Router):
    """Routes every request but those for one host."""

    def __init__(self, port: int) -> None:
        super().__init__("127.0.0.1")
        self._port = port

    def route(
        self, method: bytes, host: bytes | None, fields: tuple[tuple[bytes, bytes], ...]
    ) -> Target:
        if host == b"nowhere":
            raise PortMissing(404, "nowhere")
        return Target("127.0.0.1", self._port)


async def test_the_router_of_an_embedder_comes_first() -> None:
    async with stage() as on:
        router = OnePort(on.port)
        on.proxy.services.router = on.proxy.services.health._router = router
        _, upstream = await on.pair(HEALTH)
        assert (await soon(upstream.wire.receive())).startswith(b"GET /.cmux/health ")
        assert await status(on, HEALTH.replace(b"Host: a", b"Host: nowhere")) == 200


@pytest.mark.parametrize("fields", [[], ["X-Cmux-Token: wrong"]])
async def test_neither_a_token_nor_an_allowed_host_is_needed(fields: list[str]) -> None:
    access = Access(tokens=["secret"], allow_hosts=["app.example"])
    async with stage(local_config(access=access)) as on:
        assert (
            await status(on, head("GET /.cmux/health HTTP/1.1", "Host: a", CLOSE, *fields)) == 200
        )
        routed = head("GET /.cmux/health HTTP/1.1", "Host: a", CLOSE, ROUTE, *fields)
        assert await status(on, routed.replace(b"<port>", b"%d" % on.port)) == 401
        by_host = head("GET /.cmux/health HTTP/1.1", "Host: 3000.localhost", CLOSE, *fields)
        assert await status(on, by_host) == 401


async def test_a_client_that_is_not_allowed_is_not_told() -> None:
    async with stage(local_config(access=Access(allow_clients=["192.0.2.0/24"]))) as on:
        client = await on.client()
        await client.says(HEALTH)
        assert b"HTTP/1.1 403 " in await soon(client.wire.receive())


async def test_without_paths_of_its_own_only_the_chosen_one_is_left() -> None:
    paths = Paths(health_path="/healthz", no_cmux_paths=True)
    async with stage(local_config(paths=paths)) as on:
        assert await status(on, HEALTH) == 400
        assert await status(on, HEALTH.replace(b"/.cmux/health", b"/healthz")) == 200


async def test_probes_are_no_errors_of_the_access_log() -> None:
    records: list[Record] = []
    config = local_config(observability=Observability(access_log="all"))
    async with Proxy(config, on_record=records.append) as proxy:
        port = proxy.addresses[0].port
        assert (await asked(port, HEALTH))[0] == 200
        proxy.services.registry.is_leaving = True
        assert (await asked(port, HEALTH))[0] == 503
    assert [(record.status, record.outcome, record.error) for record in records] == [
        (200, 0, ""),
        (503, 0, ""),
    ]


async def test_until_the_delay_is_over_the_proxy_accepts_and_health_is_503() -> None:
    config = local_config(
        timeouts=Timeouts(drain_delay=NEVER), observability=Observability(admin="127.0.0.1:1")
    )
    async with stage(config) as on:
        drain = asyncio.get_running_loop().create_task(on.proxy.drain())
        while await status(on, HEALTH) == 200:
            pass
        found, response = await asked(on.address.port, HEALTH)
        assert (found, b"\r\nRetry-After: 1\r\n" in response) == (503, True)
        await on.serves()
        # The admin listener says the same.
        assert on.proxy.stats().is_draining
        # A second drain does not wait for the delay again.
        await soon(on.proxy.drain())
        with pytest.raises(ConnectionRefusedError):
            await on.client()
        drain.cancel()


async def becomes(proxy: ProxyProcess, expected: int) -> None:
    """Ask for health until it has this status, several times in a row: every worker says so."""
    in_a_row = 0
    async with asyncio.timeout(SOON):
        while in_a_row < 20:
            found, _ = await asked(proxy.port, HEALTH)
            in_a_row = in_a_row + 1 if found == expected else 0


@pytest.mark.hosting
@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_process_says_503_before_it_stops_to_accept(loop_name: str, workers: str) -> None:
    async with proxy_process(loop_name, "--drain-delay", "1h", "--workers", workers) as proxy:
        await becomes(proxy, 200)
        proxy.signal(signal.SIGTERM)
        await becomes(proxy, 503)
        # The second signal ends it at once.
        proxy.signal(signal.SIGTERM)
        assert (await proxy.ended())[0] == 128 + signal.SIGTERM


async def test_after_the_delay_it_drains(loop_name: str) -> None:
    async with proxy_process(loop_name, "--drain-delay", "1ms") as proxy:
        proxy.signal()
        ended, errors = await proxy.ended()
    assert ended == 0
    assert "cmux-proxy: INFO: stopping: accepts for 0.001 s more, and health is 503\n" in errors


async def test_a_worker_has_the_delay_and_the_drain_timeout_before_it_is_killed(
    loop_name: str,
) -> None:
    seconds = KILL_GRACE + 0.5
    flags = ("--drain-delay", f"{seconds}s", "--drain-timeout", "0", "--workers", "2")
    async with proxy_process(loop_name, *flags) as proxy:
        proxy.signal()
        ended, errors = await proxy.ended()
    assert (ended, "is killed" in errors) == (0, False)


@pytest.mark.parametrize("option", ["--http1.0", "--http1.1", "--http2"])
async def test_curl_gets_it_over_tls(tmp_path: Path, option: str) -> None:
    async with Proxy(tls_config(tmp_path, plain_text="refuse")) as proxy:
        command = [tool("curl"), "-q", "-sS", "--noproxy", "", option]
        command += ["--cacert", write_authority(tmp_path), "-w", "%{http_code}"]
        where = f"localhost:{proxy.addresses[0].port}/.cmux/health"
        assert (await finish(*command, f"https://{where}")).out == b"ok\n200"
        assert (await finish(*command, f"http://{where}")).out.endswith(b"\n400")


async def test_curl_gets_it_over_http2() -> None:
    async with stage() as on:
        done = await finish(
            tool("curl"), "-sS", "-i", "--http2-prior-knowledge",
            f"http://127.0.0.1:{on.address.port}/.cmux/health",
        )  # fmt: skip
    assert done.out.startswith(b"HTTP/2 200"), done.errors
    assert done.out.endswith(b"\r\n\r\nok\n")
    assert b"proxy-status: cmux-proxy\r\n" in done.out


async def test_it_opens_no_websocket_over_http2() -> None:
    async with stage() as on:
        client = await H2Peer.to(on.address.port)
        fields = [
            (":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"),
            (":path", "/.cmux/health"), (":authority", "a"),
        ]  # fmt: skip
        await client.step()
        stream = await client.ask(fields, False)
        assert (await client.head(stream))[":status"] == "400"
        client.wire.close()
