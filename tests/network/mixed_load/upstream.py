"""The service behind the proxy: obeys the target of each request, and checks every byte."""

import asyncio
from random import Random

from tests.helpers.messages import Message, Reader
from tests.helpers.timing import soon
from tests.helpers.wire import WireListener
from tests.network.mixed_load import plans
from tests.network.mixed_load.bodies import Chunks, cut, in_chunks
from tests.network.mixed_load.plans import Plan, lines
from tests.network.mixed_load.tunnels import contents, converse
from tests.network.mixed_load.wires import LeanWire, accept, send
from tests.network.mixed_load.world import World, expect


class Upstream:
    """One listening upstream."""

    def __init__(self, world: World, listener: WireListener) -> None:
        self._world = world
        self._listener = listener
        self._port = listener.port
        self._wires: dict[LeanWire, Plan | None] = {}

    def reset_on_close(self) -> None:
        """Let every connection end with a reset when `serve` is cancelled."""
        for wire in self._wires:
            wire.reset_on_close()

    def is_responding(self, name: str, min_size: int) -> bool:
        """Return whether a response to this name with at least `min_size` bytes is in progress."""
        plans = [plan for plan in self._wires.values() if plan is not None]
        return any(plan.name == name and plan.down >= min_size for plan in plans)

    async def serve(self) -> None:
        """Serve all connections, until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    wire = await accept(self._listener)
                    self._wires[wire] = None
                    group.create_task(self._receive(wire))
        finally:
            # Connections whose task has not started yet.
            for wire in self._wires:
                wire.close()

    async def _receive(self, wire: LeanWire) -> None:
        """Serve one connection; its errors must not end other connections."""
        plan: Plan | None = None
        try:
            with wire:
                reader = Reader(wire)
                while (head := await reader.head()) is not None:
                    plan = self._wires[wire] = Plan.parse(head.target)
                    if not await self._serve(reader, head, plan):
                        break
                    plan = self._wires[wire] = None
        except Exception as error:
            # Between two requests the proxy may close the connection.
            is_break = isinstance(error, EOFError | OSError) and not isinstance(error, TimeoutError)
            if not is_break or (plan is not None and not self._world.may_break(plan)):
                self._world.problem(f"upstream, {plan}", repr(error))
        finally:
            del self._wires[wire]

    async def _serve(self, reader: Reader, head: Message, plan: Plan) -> bool:
        """Do what the plan says; return whether the connection may stay open."""
        assert self._world.port(plan) == self._port, f"{plan} is for another port"
        if head.method == "TUNNEL":
            await self._tunnel(reader, plan)
            return False
        expect(plan, "request head", head.head, lines(*plans.request_lines(plan)))
        if plan.request_type.status.startswith("101"):
            await self._switch(reader, plan)
            return False
        if plan.is_aborted:
            await self._await_abort(reader, plan)
            # The request may have been complete before the client disconnected.
            return plan.name == "abort-response"
        if plan.name == "stream":
            await self._stream(reader, plan)
            return True
        await self._respond(reader, plan)
        return plan.name not in ("closing", "until-close", "vanishing", "ended-upload")

    async def _respond(self, reader: Reader, plan: Plan) -> None:
        random = Random(plan.key)
        if between := plans.interim_lines(plan):
            await reader.wire.send(lines(*between, "", ""))
        await self._take_upload(reader, plan)
        await send(reader.wire, cut(self._response(plan, random), random))

    def _response(self, plan: Plan, random: Random) -> bytes:
        request_type = plan.request_type
        response = lines(*plans.upstream_response_lines(plan, self._port), "", "")
        body = plans.response_body(plan, self._port)
        if (
            request_type.method == "HEAD"
            or not request_type.framing
            or request_type.status.startswith("304")
        ):
            return response
        return response + (
            in_chunks(body, plan.trailer, random) if request_type.framing == "chunked" else body
        )

    async def _take_upload(self, reader: Reader, plan: Plan) -> None:
        if plan.request_type.upload == "length":
            expect(plan, "upload", await reader.take(plan.up), plans.upload(plan))
        elif plan.request_type.upload:
            chunks = Chunks(reader)
            expect(plan, "upload", await chunks.read_all(), plans.upload(plan))
            expect(plan, "trailers", lines(*chunks.trailers), lines(plan.trailer))

    async def _stream(self, reader: Reader, plan: Plan) -> None:
        """Respond while the request is still arriving, chunk by chunk."""
        await reader.wire.send(lines(*plans.upstream_response_lines(plan, self._port), "", ""))
        chunks = Chunks(reader)
        got = []
        async for data in chunks:
            got.append(data)
            await reader.wire.send(b"%x\r\n%b\r\n" % (len(data), data))
        expect(plan, "upload", b"".join(got), plans.upload(plan))
        expect(plan, "trailers", lines(*chunks.trailers), lines(plan.trailer))
        await reader.wire.send(lines("0", plan.trailer, "", ""))

    async def _await_abort(self, reader: Reader, plan: Plan) -> None:
        """Wait until the disconnect is noticed; it may not be noticed within a response."""
        if plan.name == "abort-response":
            await self._respond(reader, plan)
        elif plan.request_type.upload:
            await soon(self._take_upload(reader, plan))
            raise AssertionError("an incomplete upload looks complete")
        else:
            assert plan.name == "abort-waiting", "an incomplete request was forwarded"
            assert await soon(reader.receive()) == b""

    async def _switch(self, reader: Reader, plan: Plan) -> None:
        """Grant the upgrade, send a greeting in the same write, and echo all bytes."""
        greeting = plans.response_body(plan, self._port)
        await reader.wire.send(
            lines(*plans.upstream_response_lines(plan, self._port), "", "") + greeting
        )
        got = []
        while data := await reader.receive():
            got.append(data)
            await reader.wire.send(data)
        if not plan.is_aborted:
            expect(plan, "bytes from the client", b"".join(got), plans.upload(plan))

    async def _tunnel(self, reader: Reader, plan: Plan) -> None:
        wanted, out = contents(plan)
        got = await converse(reader, out, plan.name == "upstream-first", Random(plan.key))
        if not plan.is_aborted:
            expect(plan, "bytes from the client", got, wanted)
