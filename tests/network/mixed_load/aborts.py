"""Clients that disconnect at every stage, with a reset or with a close."""

from random import Random

from tests.helpers.messages import Reader
from tests.helpers.wire import Wire
from tests.network.mixed_load import plans
from tests.network.mixed_load.bodies import cut, in_chunks
from tests.network.mixed_load.expectations import expect_head, expect_refusal
from tests.network.mixed_load.plans import Plan, lines
from tests.network.mixed_load.tunnels import connect_head
from tests.network.mixed_load.wires import send, while_sending
from tests.network.mixed_load.world import World


async def abort(world: World, plan: Plan, wire: Wire, random: Random) -> None:
    """Start the request of the plan, and disconnect."""
    if plan.name == "abort-head":
        await _send_part(_head(world, plan), wire, random)
    elif plan.name == "abort-upload":
        head = _head(world, plan)
        request = head + in_chunks(plans.upload(plan), plan.trailer, random)
        await _send_part(request, wire, random, min_size=len(head))
    elif plan.name == "abort-malformed":
        await _send_malformed_chunk(world, plan, wire, random)
    elif plan.name == "abort-connect":
        await wire.send(connect_head(world, plan))
        await _leave_tunnel(plan, b"HTTP/1.1 200 Connection established", wire, random)
    elif plan.name == "abort-upgrade":
        await wire.send(_head(world, plan))
        await _leave_tunnel(
            plan, lines(*plans.upstream_response_lines(plan, world.port(plan))), wire, random
        )
    else:
        await wire.send(_head(world, plan))
        if plan.name == "abort-response":
            await _read_some(world, plan, wire)
    if random.random() < 0.5:
        wire.reset()


def _head(world: World, plan: Plan) -> bytes:
    return plans.request_head(plan, world.port(plan), "1.1")


async def _send_part(data: bytes, wire: Wire, random: Random, min_size: int = 1) -> None:
    await send(wire, cut(data[: random.randint(min_size, len(data) - 1)], random))


async def _send_malformed_chunk(world: World, plan: Plan, wire: Wire, random: Random) -> None:
    """Send chunks and then malformed bytes; get the error."""
    chunks = in_chunks(plans.upload(plan), plan.trailer, random)
    good = _head(world, plan) + chunks[: chunks.rindex(b"0\r\nX-Trailer: ")]
    reader = Reader(wire)
    refused = expect_refusal(reader, plan, world.port(plan), True)
    await while_sending(send(wire, [*cut(good, random, 2), b"zz\r\n"]), refused)
    assert await reader.receive() == b""


async def _read_some(world: World, plan: Plan, wire: Wire) -> None:
    """Read the head and perhaps some of the body."""
    expected = plans.client_response_lines(plan, world.port(plan), "1.1", True)
    await expect_head(Reader(wire), plan, lines(*expected))


async def _leave_tunnel(plan: Plan, response_head: bytes, wire: Wire, random: Random) -> None:
    """Send bytes into a tunnel, and do not wait for a response."""
    await expect_head(Reader(wire), plan, response_head)
    await send(wire, cut(plans.upload(plan), random))
