"""One client: sends requests of all types over many connections, and checks every response."""

import asyncio
import itertools
from collections.abc import Sequence
from random import Random
from typing import Final

from tests.helpers.messages import Reader
from tests.helpers.timing import later
from tests.network.mixed_load import plans
from tests.network.mixed_load.aborts import abort
from tests.network.mixed_load.bodies import Chunks, cut, in_chunks
from tests.network.mixed_load.expectations import expect_head, expect_refusal
from tests.network.mixed_load.plans import Plan, lines
from tests.network.mixed_load.tunnels import connect, upgrade
from tests.network.mixed_load.wires import LeanWire, read_to_end, send, while_sending
from tests.network.mixed_load.world import World, expect

ABORTS: Final = [name for name in plans.SPECIAL if name.startswith("abort-")]
# What a connection is used for; more frequent uses appear more often.
_USES: Final = (
    *("1.1", "1.1", "1.1", "1.1", "1.0", "upgrade", "client-first", "upstream-first"),
    *("refused-upload", "ended-upload", *ABORTS, "1.1", "1.1", "1.1", "1.0"),
)


class Client:
    """One of many; `number` decides what it does."""

    def __init__(self, world: World, number: int, seed: str) -> None:
        self._world = world
        self._number = number
        self._random = Random(f"{seed} {number}")
        # Its current requests, for the report of a problem.
        self._doing: list[object] = []

    async def run(self, until: float) -> None:
        """Use one connection after the other until the loop's clock says `until`."""
        clock = asyncio.get_running_loop().time
        # The first use depends on the number of the client, so that every use occurs.
        for turn in itertools.count():
            use = _USES[self._number % len(_USES)] if not turn else self._random.choice(_USES)
            since = clock()
            try:
                await later(self._use_connection(use))
            except Exception as error:
                self._world.failed(f"client {self._number}, {use}", self._doing, error, since)
            if clock() >= until:
                return

    async def _use_connection(self, use: str) -> None:
        with await LeanWire.to("127.0.0.1", self._world.proxy_port) as wire:
            if use in ("1.1", "1.0"):
                await self._send_requests(Reader(wire), use)
                return
            plan = self._world.plan(use, self._random)
            self._doing = [plan]
            if use == "refused-upload":
                await self._refused_upload(Reader(wire), plan)
            elif use == "ended-upload":
                await self._ended_upload(Reader(wire), plan)
            elif use == "upgrade":
                await upgrade(self._world, plan, wire, self._random)
            elif plan.is_aborted:
                await abort(self._world, plan, wire, self._random)
            else:
                await connect(self._world, plan, wire, self._random)
            self._world.done[use] += 1

    async def _send_requests(self, reader: Reader, version: str) -> None:
        """Send some requests over one connection; end it, or let the proxy end it."""
        self._doing = []
        goes_on = True
        ends = False
        left = self._random.randint(1, 6)
        while goes_on and left:
            left -= 1
            keeps = left > 0 or self._random.random() < 0.5
            ends = not left and self._random.random() < 0.3
            goes_on = await self._batch(reader, version, keeps, ends)
        if goes_on and not ends:
            reader.wire.end()
        remaining = await read_to_end(reader)
        assert remaining == b"", f"unexpected bytes {remaining[:200]!r}"

    async def _batch(self, reader: Reader, version: str, keeps: bool, ends: bool) -> bool:
        """Send one or several requests at once; return whether the connection stays open."""
        batch = self._plans(version)
        # This request has a Connection field already.
        keeps = keeps or batch[-1].name == "declined"
        self._doing += [*batch, f"keeps={keeps} ends={ends};"]
        requests = [self._request(plan, version, True) for plan in batch[:-1]]
        requests.append(self._request(batch[-1], version, keeps))
        if batch[0].name == "continue":
            await self._expect_continue(reader, batch[0], requests)
        parts = cut(b"".join(itertools.chain(*requests)), self._random)
        responses = self._read_responses(reader, batch, version, keeps)
        await while_sending(send(reader.wire, parts, ends), responses)
        self._world.done["pipelined"] += len(batch) > 1
        return plans.keeps_connection(batch[-1], version, keeps)

    def _plans(self, version: str) -> list[Plan]:
        names: Sequence[str] = plans.HTTP11 if version == "1.1" else plans.HTTP10
        first = self._random.choice(names)
        chosen = [first]
        if version == "1.1" and first != "continue" and self._random.random() < 0.3:
            without = [name for name in names if name != "continue"]
            chosen += self._random.choices(without, k=self._random.choice((1, 1, 1, 5)))
        return [self._world.plan(name, self._random) for name in chosen]

    def _request(self, plan: Plan, version: str, keeps: bool) -> list[bytes]:
        """Return the head and the body."""
        fields = [] if keeps == (version == "1.1") else [_CONNECTION_FIELDS[version]]
        head = plans.request_head(plan, self._world.port(plan), version, *fields)
        body = plans.upload(plan)
        if plan.request_type.upload == "chunked":
            return [head, in_chunks(body, plan.trailer, self._random)]
        return [head, body] if plan.request_type.upload else [head]

    async def _expect_continue(
        self, reader: Reader, plan: Plan, requests: list[list[bytes]]
    ) -> None:
        """Send the head alone and wait for 100 (Continue)."""
        await reader.wire.send(requests[0].pop(0))
        await expect_head(reader, plan, lines(*plans.interim_lines(plan)))

    async def _read_responses(
        self, reader: Reader, batch: Sequence[Plan], version: str, keeps: bool
    ) -> None:
        """Read the responses in the order of the requests."""
        for plan in batch[:-1]:
            await self._read_response(reader, plan, version, True)
        await self._read_response(reader, batch[-1], version, keeps)

    async def _read_response(self, reader: Reader, plan: Plan, version: str, keeps: bool) -> None:
        """Read a response; fail unless it is exactly the expected one."""
        port = self._world.port(plan)
        if plan.name in ("refused", "unrouted"):
            await expect_refusal(
                reader, plan, port, not plans.keeps_connection(plan, version, keeps)
            )
        else:
            if plan.name == "hints" and version == "1.1":
                await expect_head(reader, plan, lines(*plans.interim_lines(plan)))
            expected = lines(*plans.client_response_lines(plan, port, version, keeps))
            await expect_head(reader, plan, expected)
            await self._body(reader, plan, version)
        self._world.done[plan.name if version == "1.1" else f"{plan.name}, HTTP/1.0"] += 1

    async def _body(self, reader: Reader, plan: Plan, version: str) -> None:
        request_type = plan.request_type
        if (
            request_type.method == "HEAD"
            or not request_type.framing
            or request_type.status.startswith("304")
        ):
            return
        expected = plans.response_body(plan, self._world.port(plan))
        if request_type.framing == "length":
            expect(plan, "body", await reader.take(len(expected)), expected)
        elif version == "1.0":
            expect(plan, "body", await read_to_end(reader), expected)
        else:
            chunks = Chunks(reader)
            expect(plan, "body", await chunks.read_all(), expected)
            trailers = [plan.trailer] if request_type.framing == "chunked" else []
            expect(plan, "trailers", lines(*chunks.trailers), lines(*trailers))

    async def _refused_upload(self, reader: Reader, plan: Plan) -> None:
        """Send a body that is not read, and get the error."""
        parts = cut(b"".join(self._request(plan, "1.1", False)), self._random)
        refused = expect_refusal(reader, plan, self._world.port(plan), True)
        await while_sending(send(reader.wire, parts), refused)
        assert await read_to_end(reader) == b""

    async def _ended_upload(self, reader: Reader, plan: Plan) -> None:
        """Send a body and half-close; get the response."""
        parts = cut(b"".join(self._request(plan, "1.1", True)), self._random, 2)
        response = self._read_response(reader, plan, "1.1", True)
        await while_sending(send(reader.wire, parts, True), response)
        assert await read_to_end(reader) == b""


_CONNECTION_FIELDS: Final = {"1.1": "Connection: close", "1.0": "Connection: keep-alive"}
