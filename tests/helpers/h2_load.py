"""A mixture of streams on one HTTP/2 connection, half of which their client resets.

    plans      what each stream does, derived from a seed and its number
    Service    an upstream: does what the target of a request says, and checks what it receives
    Load       the client: keeps many streams open, and checks what it receives

Contents are derived from names, so that bytes of another stream, port or workspace are noticed.
"""

import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from random import Random
from typing import Final, NamedTuple, Self

from tests.helpers.h2_peer import Fields, H2Peer, Response
from tests.helpers.messages import Message
from tests.helpers.origins import OriginConnection, chunk
from tests.helpers.script import head
from tests.helpers.websockets import switching
from tests.network.mixed_load.bodies import Chunks, content

_KINDS: Final = ("length", "chunked", "until-close", "both-ways", "connect", "websocket")
_TUNNELS: Final = frozenset(["connect", "websocket"])
_SIZES: Final = (0, 100, 5_000, 70_000, 150_000)
# A client sends at most this much of a stream before it looks at the others.
_PIECE: Final = 20_000


class Upstream(NamedTuple):
    """Where a service listens."""

    workspace: str
    port: int


class Plan(NamedTuple):
    """What a stream does; `up` and `down` are sizes of bodies in bytes.

    The client resets it after `limit` bytes in both directions, unless that is negative.
    """

    key: int
    kind: str
    upstream: Upstream
    up: int
    down: int
    limit: int

    @classmethod
    def make(cls, seed: str, key: int, upstreams: Sequence[Upstream]) -> Self:
        """Choose what the stream of this number does."""
        dice = Random(f"{seed} {key}")
        kind = dice.choice(_KINDS)
        up = dice.randint(0, dice.choice(_SIZES))
        down = up if kind == "both-ways" else dice.randint(0, dice.choice(_SIZES))
        limit = dice.choice((-1, -1, 0, dice.randint(0, up + down)))
        return cls(key, kind, dice.choice(upstreams), up, down, limit)

    @classmethod
    def parse(cls, target: str) -> Self:
        """Read it from a target."""
        key, kind, workspace, *numbers = target.removeprefix("/").split("/")
        port, up, down, limit = map(int, numbers)
        return cls(int(key), kind, Upstream(workspace, port), up, down, limit)

    def target(self) -> str:
        """Return the target of its request, which has all of it."""
        values = (self.key, self.kind, *self.upstream, self.up, self.down, self.limit)
        return "/" + "/".join(map(str, values))

    def upload(self) -> bytes:
        """Return what the client sends."""
        return content(f"up {self.target()}", self.up)

    def response(self) -> bytes:
        """Return what the upstream sends."""
        if self.kind == "both-ways":
            return self.upload()
        return content(f"down {self.target()}", self.down)

    def fields(self) -> Fields:
        """Return the fields of its request."""
        route = [
            ("x-cmux-port-internal", str(self.upstream.port)),
            ("x-cmux-workspace-internal", self.upstream.workspace),
        ]
        if self.kind == "connect":
            return [(":method", "CONNECT"), (":authority", "a:1"), *route]
        common = [(":scheme", "http"), (":authority", "a"), (":path", self.target()), *route]
        if self.kind == "websocket":
            start = [(":method", "CONNECT"), (":protocol", "websocket")]
            return [*start, *common, ("sec-websocket-version", "13")]
        length = [("content-length", str(self.up))] if self.kind == "length" else []
        return [(":method", "POST"), *common, *length]

    def opening(self) -> bytes:
        """Return what the client sends before its upload: a tunnel has its target there."""
        return head(f"TUNNEL {self.target()} HTTP/1.1") if self.kind == "connect" else b""


def plans(seed: str, count: int, upstreams: Sequence[Upstream]) -> Iterator[Plan]:
    """Yield what each of `count` streams does."""
    for key in range(count):
        yield Plan.make(seed, key, upstreams)


class Service:
    """An upstream; appends to `problems`."""

    def __init__(self, upstream: Upstream, problems: list[str]) -> None:
        self._upstream = upstream
        self._problems = problems

    async def __call__(self, connection: OriginConnection) -> None:
        """Serve one connection."""
        plan: Plan | None = None
        try:
            while (request := await connection.head()) is not None:
                plan = Plan.parse(request.target)
                assert plan.upstream == self._upstream, f"{plan} is for another upstream"
                if not await self._serve(connection, request, plan):
                    return
                plan = None
        except AssertionError as error:
            self._problems.append(f"{self._upstream}: {error}")
        except (ConnectionError, EOFError) as error:
            # Between two requests, the proxy may close the connection.
            if plan is not None and plan.limit < 0:
                self._problems.append(f"{self._upstream}, {plan}: {error!r}")

    async def _serve(self, connection: OriginConnection, request: Message, plan: Plan) -> bool:
        """Do what the plan says; return whether the connection stays open."""
        if plan.kind == "websocket":
            await connection.send(switching(request.head + b"\r\n\r\n"))
        elif plan.kind == "both-ways":
            await connection.send(head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked"))
        upload = plan.upload()
        got = 0
        async for data in _pieces(connection, request, plan):
            assert data == upload[got : got + len(data)], f"{plan}: bytes of others"
            got += len(data)
            if plan.kind == "both-ways":
                await connection.send(chunk(data))
        if got != plan.up:
            raise EOFError
        await connection.send(_response(plan))
        return plan.kind not in _TUNNELS and plan.kind != "until-close"


async def _pieces(
    connection: OriginConnection, request: Message, plan: Plan
) -> AsyncIterator[bytes]:
    """Yield the upload as it arrives."""
    if request.field("transfer-encoding"):
        async for data in Chunks(connection):
            yield data
        return
    left = plan.up if plan.kind not in _TUNNELS else plan.up + 1
    # The end of a tunnel's upload is a half-close.
    while left and (data := await connection.receive()):
        left -= len(data)
        yield data


def _response(plan: Plan) -> bytes:
    """Return what the upstream sends once it has the whole upload."""
    body = plan.response()
    if plan.kind in _TUNNELS:
        return body
    if plan.kind == "both-ways":
        return b"0\r\nSum: 1\r\n\r\n"
    if plan.kind == "until-close":
        return head("HTTP/1.1 200 OK") + body
    if plan.kind == "length":
        return head("HTTP/1.1 200 OK", f"Content-Length: {plan.down}") + body
    coded = (chunk(body) if body else b"") + b"0\r\nSum: 1\r\n\r\n"
    return head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + coded


class _Play:
    """One stream of the client."""

    def __init__(self, plan: Plan, response: Response) -> None:
        self.plan = plan
        self.response = response
        self.rest = memoryview(plan.opening() + plan.upload())
        self.has_ended = False
        self._expected = plan.response()
        # How many bytes of the response are known to be right.
        self._checked = 0

    def is_over_limit(self) -> bool:
        """Return whether the client resets it now."""
        sent = self.plan.up - len(self.rest)
        return 0 <= self.plan.limit <= sent + len(self.response.body)

    def is_complete(self) -> bool:
        """Return whether both directions have ended."""
        return self.has_ended and self.response.is_complete

    def problem(self) -> str | None:
        """Return what is wrong with what was received so far."""
        response = self.response
        start, self._checked = self._checked, len(response.body)
        if response.body[start:] != self._expected[start : self._checked]:
            return "bytes of others"
        if response.heads and response.status != "200":
            return f"status {response.status}: {response.body!r}"
        if response.reset is not None:
            return f"reset with {response.reset}"
        if response.is_complete and self._checked != len(self._expected):
            return f"{self._checked} bytes instead of {len(self._expected)}"
        if response.is_complete and self._wants_trailers() != bool(response.trailers):
            return f"trailers {response.trailers}"
        return None

    def _wants_trailers(self) -> bool:
        return self.plan.kind in ("chunked", "both-ways")


class Load:
    """The client; `complete` and `aborted` count the streams, `problems` is for all sides."""

    def __init__(self, peer: H2Peer, problems: list[str]) -> None:
        self._peer = peer
        self._plays: dict[int, _Play] = {}
        self.problems = problems
        self.complete = 0
        self.aborted = 0

    async def run(self, all_plans: Iterator[Plan], at_once: int) -> None:
        """Keep this many streams open until all plans are done, or a stream fails."""
        with contextlib.suppress(StopIteration):
            while not self.problems:
                while len(self._plays) < at_once:
                    await self._open(next(all_plans))
                await self._turn()
        while self._plays and not self.problems:
            await self._turn()

    async def _open(self, plan: Plan) -> None:
        stream = await self._peer.ask(plan.fields(), False)
        self._plays[stream] = _Play(plan, self._peer.responses[stream])
        self._advance(stream)
        await self._peer.flush()

    async def _turn(self) -> None:
        await self._peer.step()
        for stream in list(self._plays):
            self._advance(stream)
        await self._peer.flush()

    def _advance(self, stream: int) -> None:
        play = self._plays[stream]
        if (problem := play.problem()) is not None:
            self.problems.append(f"client, {play.plan}: {problem}")
        elif play.is_complete():
            self.complete += 1
        elif play.is_over_limit():
            self._peer.h2.reset_stream(stream, 8)
            self.aborted += 1
        else:
            self._upload(stream, play)
            return
        del self._plays[stream]
        del self._peer.responses[stream]

    def _upload(self, stream: int, play: _Play) -> None:
        """Send what fits into the windows, and the end behind everything."""
        h2 = self._peer.h2
        # A tunnel carries bytes once it is open.
        is_open = play.plan.kind not in _TUNNELS or play.response.heads
        if play.has_ended or not is_open:
            return
        room = min(_PIECE, h2.local_flow_control_window(stream))
        while play.rest and room > 0:
            size = min(room, len(play.rest), h2.max_outbound_frame_size)
            h2.send_data(stream, bytes(play.rest[:size]))
            play.rest = play.rest[size:]
            room -= size
        if not play.rest:
            play.has_ended = True
            h2.end_stream(stream)
