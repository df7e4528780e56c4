"""The HTTP/2 client of Node.js."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest

from cmux_proxy import Proxy, Tls
from tests.helpers.origins import (
    Behaviour,
    OriginConnection,
    chunk,
    early_response,
    echo,
    echo_bytes,
    http_response,
    interim,
    origin,
    responding,
    upgrading,
)
from tests.helpers.proxies import local_config
from tests.helpers.script import Stage, head, stage
from tests.helpers.timing import MS, later
from tests.helpers.tls import leaf, write_authority, write_pem
from tests.helpers.tools import finish, tool
from tests.helpers.wire import closed_port

# Runs `play` with one session, and prints what it returns as JSON.
FRAME: Final = """
const http2 = require("node:http2");
const fs = require("node:fs");
const [url, ca, ...values] = process.argv.slice(2);
const ports = values.map(Number);
const session = http2.connect(url, ca ? { ca: fs.readFileSync(ca) } : {});
const goaways = [];
session.on("goaway", (code) => goaways.push(code));

// Sends a request; resolves to all parts of its response.
function ask(port, fields = {}, { body, options, trailers } = {}) {
    const request = session.request(
        { ...fields, "x-cmux-port-internal": port },
        { endStream: body === undefined, waitForTrailers: trailers !== undefined, ...options },
    );
    const response = { interim: [], body: "", trailers: null };
    request.setEncoding("latin1");
    request.on("headers", (fields) => response.interim.push({ ...fields }));
    request.on("response", (fields) => { response.fields = { ...fields }; });
    request.on("data", (data) => { response.body += data; });
    request.on("trailers", (fields) => { response.trailers = { ...fields }; });
    request.on("wantTrailers", () => request.sendTrailers(trailers));
    if (body !== undefined) request.end(body);
    response.request = request;
    response.done = new Promise((resolve, reject) => {
        request.on("error", reject);
        request.on("close", () => resolve({ ...response, code: request.rstCode, request: null }));
    });
    return response;
}

async function play() {%s}

play().then((value) => {
    console.log(JSON.stringify(value));
    session.close();
});
"""


@pytest.fixture(params=["http", "https"])
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Node:
    """Runs scripts of one session with the proxy of a stage."""

    def __init__(self, on: Stage, folder: Path, authority: str) -> None:
        self.on = on
        self._folder = folder
        self._authority = authority

    async def __call__(self, script: str, *ports: int) -> Any:
        """Return what the body of a function returns; it knows `ask`, `session` and `ports`."""
        path = self._folder / "script.js"
        path.write_text(FRAME % script)
        scheme = "https" if self._authority else "http"
        url = f"{scheme}://127.0.0.1:{self.on.address.port}"
        done = await finish(tool("node"), str(path), url, self._authority, *map(str, ports))
        assert (done.status, done.errors) == (0, b"")
        return json.loads(done.out)


@contextlib.asynccontextmanager
async def node_stage(folder: Path, scheme: str) -> AsyncIterator[Node]:
    """Start a proxy, with TLS for https."""
    if scheme == "http":
        async with stage() as on:
            yield Node(on, folder, "")
        return
    cert, key = write_pem(folder, "a", leaf("127.0.0.1"))
    async with stage(local_config(tls=Tls(certs=[cert], keys=[key]))) as on:
        yield Node(on, folder, write_authority(folder))


STREAMS: Final = """
    const numbers = Array.from({ length: 100 }, (_, number) => number);
    const asked = numbers.map((number) => ask(
        ports[number % 2], { ":method": "POST", ":path": `/${number}` },
        { body: Buffer.alloc(number * 1000, number) },
    ).done);
    return (await Promise.all(asked)).map(({ fields, body }, number) => [
        fields["x-target"],
        fields["x-port"],
        body === Buffer.alloc(number * 1000, number).toString("latin1"),
    ]);
"""


def echo_of(port: str) -> Behaviour:
    """Respond with the body of the request, and a name of the upstream."""
    return responding(
        lambda asked: echo(asked).replace(b"\r\n", f"\r\nX-Port: {port}\r\n".encode(), 1)
    )


async def test_a_hundred_uploads_at_once_get_their_own_responses(
    tmp_path: Path, scheme: str
) -> None:
    async with (
        origin(echo_of("a")) as first,
        origin(echo_of("b")) as second,
        node_stage(tmp_path, scheme) as node,
    ):
        responses = await node(STREAMS, first.port, second.port)
        assert responses == [[f"/{number}", "ab"[number % 2], True] for number in range(100)]


PARTS: Final = """
    const hinted = await ask(ports[0]).done;
    const head = await ask(ports[0], { ":method": "HEAD" }).done;
    const echoed = await ask(
        ports[1], { ":method": "POST", te: "trailers" },
        { body: "question", trailers: { sum: "1" } },
    ).done;
    const failed = await ask(ports[2]).done;
    return [hinted, head, echoed, failed];
"""


async def echo_with_trailers(connection: OriginConnection) -> None:
    """Send the body of each request back in a chunk, with a trailer."""
    while (request := await connection.request()) is not None:
        await connection.send(head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked"))
        await connection.send(chunk(request.body) + b"0\r\nEnd: 2\r\n\r\n")


async def test_all_parts_of_a_response(tmp_path: Path, scheme: str) -> None:
    hints = head("HTTP/1.1 103 Early Hints", "Link: </a>")
    with closed_port() as closed:
        async with (
            origin(interim([hints], http_response(b""))) as hinting,
            origin(echo_with_trailers) as echoing,
            node_stage(tmp_path, scheme) as node,
        ):
            responses = await node(PARTS, hinting.port, echoing.port, closed)
        hinted, without_body, echoed, failed = responses
        assert hinted["interim"] == [{":status": 103, "link": "</a>"}]
        assert without_body["fields"] == {":status": 200, "content-length": "0"}
        assert (echoed["body"], echoed["trailers"]) == ("question", {"end": "2"})
        assert echoing.connections[0].received.endswith(b"0\r\nsum: 1\r\n\r\n")
        assert failed["fields"][":status"] == 502
        assert failed["body"].startswith(f"nothing listens on 127.0.0.1:{closed}")
        assert [response["code"] for response in responses] == [0, 0, 0, 0]


BOTH_WAYS: Final = """
    const stream = ask(ports[0], { ":method": "POST" }, { options: { endStream: false } });
    const got = [];
    for (const word of ["one", "two", "three"]) {
        stream.request.write(word);
        while (stream.body.length < word.length) await new Promise((go) => setImmediate(go));
        got.push(stream.body);
        stream.body = "";
    }
    stream.request.end();
    const early = await ask(
        ports[1], { ":method": "POST" }, { body: Buffer.alloc(5000000) },
    ).done;
    return [got, (await stream.done).code, early.fields[":status"], early.body, early.code];
"""


async def echo_chunks(connection: OriginConnection) -> None:
    """Send each chunk back when it arrives."""
    await connection.head()
    await connection.send(head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked"))
    data = b""
    while not data.endswith(b"0\r\n\r\n"):
        data = await connection.receive()
        await connection.send(data)


async def test_bodies_go_both_ways_at_once_and_a_response_may_come_early(
    tmp_path: Path, scheme: str
) -> None:
    refusal = http_response(b"too large", "Connection: close", status="413 Content Too Large")
    async with (
        origin(echo_chunks) as echoing,
        origin(early_response(refusal)) as refusing,
        node_stage(tmp_path, scheme) as node,
    ):
        result = await node(BOTH_WAYS, echoing.port, refusing.port)
        assert result == [["one", "two", "three"], 0, 413, "too large", 0]


DRAINED: Final = """
    const asked = Array.from({ length: 50 }, (_, number) => ask(
        ports[0], { ":method": "POST", ":path": `/${number}` }, { body: `body ${number}` },
    ).done);
    const bodies = (await Promise.all(asked)).map(({ body, code }) => [body, code]);
    if (!session.closed) await new Promise((resolve) => session.once("close", resolve));
    return [bodies, goaways];
"""


async def until_refusing(proxy: Proxy) -> None:
    """Wait until a drain refuses requests; no event says so, so the test polls."""
    is_refusing = False
    while not is_refusing:
        await asyncio.sleep(20 * MS)
        is_refusing = proxy.services.registry.is_refusing


async def test_a_drain_loses_no_stream(tmp_path: Path, scheme: str) -> None:
    held = asyncio.Event()
    waiting = asyncio.Semaphore(0)

    async def behave(connection: OriginConnection) -> None:
        while (request := await connection.request()) is not None:
            waiting.release()
            await held.wait()
            await connection.send(echo(request))

    async def drain(proxy: Proxy) -> None:
        for _ in range(50):
            await later(waiting.acquire())
        draining = asyncio.get_running_loop().create_task(proxy.drain(3600))
        await later(until_refusing(proxy))
        held.set()
        await later(draining)

    async with origin(behave) as upstream, node_stage(tmp_path, scheme) as node:
        [responses, goaways], _ = await asyncio.gather(
            node(DRAINED, upstream.port), drain(node.on.proxy)
        )
        assert responses == [[f"body {number}", 0] for number in range(50)]
        assert goaways == [0, 0]


TUNNELS: Final = """
    await new Promise((resolve) => session.once("remoteSettings", resolve));
    if (!session.remoteSettings.enableConnectProtocol) return "not announced";
    const websocket = ask(
        ports[0],
        { ":method": "CONNECT", ":protocol": "websocket", ":path": "/ws",
          "sec-websocket-version": "13" },
        { body: "frames", options: { endStream: false } },
    );
    const tunnel = ask(
        ports[1], { ":method": "CONNECT", ":authority": "a:1" },
        { body: "bytes", options: { endStream: false } },
    );
    return (await Promise.all([websocket.done, tunnel.done])).map(
        ({ fields, body, code }) => [fields[":status"], body, code]);
"""


async def test_a_websocket_and_a_tunnel_are_streams(tmp_path: Path, scheme: str) -> None:
    async with (
        origin(upgrading) as granting,
        origin(echo_bytes) as echoing,
        node_stage(tmp_path, scheme) as node,
    ):
        result = await node(TUNNELS, granting.port, echoing.port)
        assert result == [[200, "frames", 0], [200, "bytes", 0]]
        [request] = granting.requests
        assert request.start == ["GET", "/ws", "HTTP/1.1"]
