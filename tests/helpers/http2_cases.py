"""What a client of HTTP/2 sends, and what has to come of it on both sides of a proxy.

A case begins in a state of stream 1, sends its bytes in several ways, and a good request behind
them. A broken rule ends the connection or resets the stream; then nothing of the case has reached
the upstream.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Iterable
from typing import Final, NamedTuple

from cmux_proxy import Config, Proxy
from cmux_proxy.http2.error_codes import CANCEL, PROTOCOL_ERROR
from tests.helpers.http2_frames import GET, POST, Fields, Frame, frame, number, plain_block
from tests.helpers.http2_wire import GREETING, Http2Wire
from tests.helpers.proxies import ProxyProcess, local_config
from tests.helpers.script import head
from tests.helpers.timing import soon
from tests.helpers.wire import Wire, WireListener

# As long as a port that the system assigns.
_PORT: Final = b"_PORT"
ROUTE: Final = (b"x-cmux-port-internal", _PORT)
ROUTED: Final[Fields] = [*GET, ROUTE]
ROUTED_POST: Final[Fields] = [*POST, ROUTE]
_RESET: Final = frame(3, 0, 1, number(CANCEL))
_FAULT: Final = frame(8, 0, 1, number(0))
# Behind every case.
NEXT: Final = 201
OK: Final = head("HTTP/1.1 200 OK", "Content-Length: 2", "Connection: close") + b"ok"


class Ends(NamedTuple):
    """The connection ends with a GOAWAY, for this reason or any."""

    code: int
    rule: str | None


class Resets(NamedTuple):
    """A stream is reset, and the connection goes on."""

    code: int
    stream_id: int = 1


class Ignored(NamedTuple):
    """Nothing comes of it."""


Outcome = Ends | Resets | Ignored
IGNORED: Final = Ignored()


class Case(NamedTuple):
    """`state` is that of stream 1: fresh, open, half, closed, gone or dropped."""

    name: str
    state: str
    data: bytes
    outcome: Outcome


def request(stream_id: int, fields: Fields = ROUTED, flags: int = 5) -> bytes:
    """Return a HEADERS frame; 1 ends the stream, 4 the block."""
    return frame(1, flags, stream_id, plain_block(fields))


_POST: Final = request(1, ROUTED_POST, 4)
_OPENING: Final = {
    "open": _POST,
    "half": request(1),
    "closed": request(1),
    "gone": _POST,
    "dropped": _POST,
}


def ways(data: bytes) -> Iterable[tuple[str, list[bytes]]]:
    """Return ways to send bytes: at once, byte by byte, and cut at random."""
    yield "whole", [data]
    if len(data) < 2000:
        yield "bytes", [data[at : at + 1] for at in range(len(data))]
    chance = random.Random(len(data))
    cuts = sorted(chance.sample(range(1, len(data)), min(5, len(data) - 1)))
    yield "cuts", [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


class RawStage:
    """A proxy, an upstream, and clients of raw frames."""

    def __init__(self, proxy: Proxy | ProxyProcess, listener: WireListener) -> None:
        self.port = proxy.addresses[0].port
        self.listener = listener

    def routed(self, data: bytes) -> bytes:
        """Return the bytes with the upstream's port in them."""
        assert self.listener.port > 9999
        return data.replace(_PORT, b"%d" % self.listener.port)

    async def client(self, *, greets: bool = True) -> Http2Wire:
        """Return a new client."""
        client = await Http2Wire.to(self.port)
        if greets:
            await client.send(GREETING)
        return client

    async def accept(self, path: str = "/") -> Wire:
        """Return the next connection to the upstream, behind a head for this path."""
        upstream = await soon(self.listener.accept())
        received = b""
        while b"\r\n\r\n" not in received:
            part = await soon(upstream.receive())
            assert part, received
            received += part
        assert received.split(b" ")[1] == path.encode(), received
        return upstream

    async def answer(self, client: Http2Wire, path: str) -> list[Frame]:
        """Let the upstream answer a request; return the frames that the client got before."""
        start = len(client.received)
        with await self.accept(path) as upstream:
            await upstream.send(OK)
            while (await client.until(0)).payload != b"ok":
                pass
        return client.received[start:]

    async def gets_nothing_before_the_next(self) -> None:
        """Check that the next connection to the upstream is that of another client's request."""
        with await Wire.to("127.0.0.1", self.port) as client:
            lines = (
                "GET /sentinel HTTP/1.1",
                "Host: a",
                f"X-Cmux-Port-Internal: {self.listener.port}",
            )
            await client.send(head(*lines))
            with await self.accept("/sentinel") as upstream:
                await upstream.send(OK)
                assert await soon(client.receive())


@contextlib.asynccontextmanager
async def raw_stage(config: Config | None = None) -> AsyncIterator[RawStage]:
    """Start a proxy and an upstream."""
    with contextlib.closing(WireListener()) as listener:
        async with Proxy(config or local_config()) as proxy:
            yield RawStage(proxy, listener)


async def _begin(on: RawStage, client: Http2Wire, state: str) -> Wire | None:
    """Bring stream 1 into a state; return its upstream if it is open there."""
    if state == "fresh":
        return None
    await client.send(on.routed(_OPENING[state]))
    upstream = await on.accept()
    if state in ("open", "half"):
        return upstream
    with upstream:
        if state == "closed":
            await upstream.send(OK)
            while not (await client.until(0)).flags & 1:
                pass
        else:
            is_gone = state == "gone"
            await client.send(
                frame(3, 0, 1, number(CANCEL)) if is_gone else frame(8, 0, 1, number(0))
            )
            assert is_gone or await client.reset() == (1, PROTOCOL_ERROR)
            assert await soon(upstream.receive()) == b""
    await client.ping()
    return None


async def play(case: Case) -> None:
    """Play a case in every way, against one proxy."""
    path = [(b":path", b"/next"), *[field for field in ROUTED if field[0] != b":path"]]
    behind = b"" if isinstance(case.outcome, Ignored) else request(NEXT, path)
    async with raw_stage() as on:
        data = on.routed(case.data + behind)
        for _name, pieces in ways(data):
            with await on.client() as client:
                upstream = await _begin(on, client, case.state)
                with upstream or contextlib.nullcontext():
                    await client.send(*pieces)
                    await _check(on, client, upstream, case.outcome)
        await on.gets_nothing_before_the_next()


async def _check(on: RawStage, client: Http2Wire, upstream: Wire | None, outcome: Outcome) -> None:
    if isinstance(outcome, Ignored):
        assert [sent.kind for sent in await client.ping() if sent.kind not in (4, 8)] == []
        if upstream is not None:
            await asyncio.sleep(0)
            assert upstream.take_arrived() == b""
        return
    if isinstance(outcome, Ends):
        last, code, rule = await client.goaway()
        assert code == outcome.code
        assert rule == outcome.rule or (rule and outcome.rule is None)
        assert last < NEXT
        assert await client.end() == []
    else:
        assert await client.reset() == (outcome.stream_id, outcome.code)
    if upstream is not None:
        assert await soon(upstream.receive()) == b""
    if isinstance(outcome, Resets):
        frames = await on.answer(client, "/next")
        assert {each.stream_id for each in frames if each.kind in (0, 1, 3)} == {NEXT}
