"""One client: connection after connection with requests of all kinds, every answer checked."""

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
from tests.network.mixed_load.plans import Plan, lines
from tests.network.mixed_load.reading import expect_head, refusal
from tests.network.mixed_load.tunnels import connect, upgrade
from tests.network.mixed_load.wires import LeanWire, read_to_end, send, while_sending
from tests.network.mixed_load.world import World, expect

ABORTS: Final = [name for name in plans.SPECIAL if name.startswith("abort-")]
# What a connection is used for; what stands here more than once is done more often.
_USES: Final = (
    *("new", "new", "new", "new", "old", "upgrade", "client-first", "upstream-first"),
    *("refused-upload", "ended-upload", *ABORTS, "new", "new", "new", "old"),
)


class Client:
    """One of many; `number` decides what it does."""

    def __init__(self, world: World, number: int, seed: str) -> None:
        self._world = world
        self._number = number
        self._random = Random(f"{seed} {number}")
        # What it was about, for whoever reads of a problem.
        self._doing: list[object] = []

    async def run(self, until: float) -> None:
        """Use one connection after the other until the loop's clock says `until`."""
        clock = asyncio.get_running_loop().time
        # At first every client does something else, so that all is done in any case.
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
            if use in ("new", "old"):
                await self._several(Reader(wire), "1.1" if use == "new" else "1.0")
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

    async def _several(self, reader: Reader, version: str) -> None:
        """Ask some requests over one connection; end it, or have it ended."""
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
        rest = await read_to_end(reader)
        assert rest == b"", f"nobody asked for {rest[:200]!r}"

    async def _batch(self, reader: Reader, version: str, keeps: bool, ends: bool) -> bool:
        """Ask one request, or several at once; return whether the connection goes on."""
        batch = self._plans(version)
        # It has a Connection line already.
        keeps = keeps or batch[-1].name == "declined"
        self._doing += [*batch, f"keeps={keeps} ends={ends};"]
        requests = [self._request(plan, version, True) for plan in batch[:-1]]
        requests.append(self._request(batch[-1], version, keeps))
        if batch[0].name == "continue":
            await self._ask_to_continue(reader, batch[0], requests)
        pieces = cut(b"".join(itertools.chain(*requests)), self._random)
        answers = self._answers(reader, batch, version, keeps)
        await while_sending(send(reader.wire, pieces, ends), answers)
        self._world.done["pipelined"] += len(batch) > 1
        return plans.goes_on(batch[-1], version, keeps)

    def _plans(self, version: str) -> list[Plan]:
        names: Sequence[str] = plans.NEW if version == "1.1" else plans.OLD
        first = self._random.choice(names)
        chosen = [first]
        if version == "1.1" and first != "continue" and self._random.random() < 0.3:
            without = [name for name in names if name != "continue"]
            chosen += self._random.choices(without, k=self._random.choice((1, 1, 1, 5)))
        return [self._world.plan(name, self._random) for name in chosen]

    def _request(self, plan: Plan, version: str, keeps: bool) -> list[bytes]:
        """Return the head and the body."""
        fields = [] if keeps == (version == "1.1") else [_PERSISTENCE[version]]
        head = plans.sent(plan, self._world.port(plan), version, *fields)
        body = plans.upload(plan)
        if plan.kind.upload == "chunked":
            return [head, in_chunks(body, plan.trailer, self._random)]
        return [head, body] if plan.kind.upload else [head]

    async def _ask_to_continue(
        self, reader: Reader, plan: Plan, requests: list[list[bytes]]
    ) -> None:
        """Send the head alone and wait for the word."""
        await reader.wire.send(requests[0].pop(0))
        await expect_head(reader, plan, lines(*plans.interim(plan)))

    async def _answers(
        self, reader: Reader, batch: Sequence[Plan], version: str, keeps: bool
    ) -> None:
        """Read the answers, in the order of the requests."""
        for plan in batch[:-1]:
            await self._answer(reader, plan, version, True)
        await self._answer(reader, batch[-1], version, keeps)

    async def _answer(self, reader: Reader, plan: Plan, version: str, keeps: bool) -> None:
        """Read an answer and fail unless it is exactly the one that belongs to the request."""
        port = self._world.port(plan)
        if plan.name in ("refused", "unrouted"):
            await refusal(reader, plan, port, not plans.goes_on(plan, version, keeps))
        else:
            if plan.name == "hints" and version == "1.1":
                await expect_head(reader, plan, lines(*plans.interim(plan)))
            wanted = lines(*plans.told(plan, port, version, keeps))
            await expect_head(reader, plan, wanted)
            await self._body(reader, plan, version)
        self._world.done[plan.name if version == "1.1" else f"old {plan.name}"] += 1

    async def _body(self, reader: Reader, plan: Plan, version: str) -> None:
        kind = plan.kind
        if kind.method == "HEAD" or not kind.framing or kind.status.startswith("304"):
            return
        wanted = plans.body(plan, self._world.port(plan))
        if kind.framing == "length":
            expect(plan, "body", await reader.take(len(wanted)), wanted)
        elif version == "1.0":
            expect(plan, "body", await read_to_end(reader), wanted)
        else:
            chunks = Chunks(reader)
            expect(plan, "body", await chunks.whole(), wanted)
            trailers = [plan.trailer] if kind.framing == "chunked" else []
            expect(plan, "trailers", lines(*chunks.trailers), lines(*trailers))

    async def _refused_upload(self, reader: Reader, plan: Plan) -> None:
        """Send a body that nobody takes, and get the reason all the same."""
        pieces = cut(b"".join(self._request(plan, "1.1", False)), self._random)
        refused = refusal(reader, plan, self._world.port(plan), True)
        await while_sending(send(reader.wire, pieces), refused)
        assert await read_to_end(reader) == b""

    async def _ended_upload(self, reader: Reader, plan: Plan) -> None:
        """Send a body and the end, and get the answer all the same."""
        pieces = cut(b"".join(self._request(plan, "1.1", True)), self._random, 2)
        answer = self._answer(reader, plan, "1.1", True)
        await while_sending(send(reader.wire, pieces, True), answer)
        assert await read_to_end(reader) == b""


_PERSISTENCE: Final = {"1.1": "Connection: close", "1.0": "Connection: keep-alive"}
