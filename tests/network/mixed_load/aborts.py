"""Clients that go away amid everything, with a reset or with an end."""

from random import Random

from tests.helpers.messages import Reader
from tests.helpers.wire import Wire
from tests.network.mixed_load import plans
from tests.network.mixed_load.bodies import cut, in_chunks
from tests.network.mixed_load.plans import Plan, lines
from tests.network.mixed_load.reading import expect_head, refusal
from tests.network.mixed_load.tunnels import connecting
from tests.network.mixed_load.wires import send, while_sending
from tests.network.mixed_load.world import World


async def abort(world: World, plan: Plan, wire: Wire, random: Random) -> None:
    """Begin what the plan says, and leave."""
    if plan.name == "abort-head":
        await _leave_amid(_head(world, plan), wire, random)
    elif plan.name == "abort-upload":
        head = _head(world, plan)
        whole = head + in_chunks(plans.upload(plan), plan.trailer, random)
        await _leave_amid(whole, wire, random, least=len(head))
    elif plan.name == "abort-malformed":
        await _send_nonsense(world, plan, wire, random)
    elif plan.name == "abort-connect":
        await wire.send(connecting(world, plan))
        await _leave_tunnel(plan, b"HTTP/1.1 200 Connection established", wire, random)
    elif plan.name == "abort-upgrade":
        await wire.send(_head(world, plan))
        await _leave_tunnel(plan, lines(*plans.said(plan, world.port(plan))), wire, random)
    else:
        await wire.send(_head(world, plan))
        if plan.name == "abort-answer":
            await _read_some(world, plan, wire)
    if random.random() < 0.5:
        wire.reset()


def _head(world: World, plan: Plan) -> bytes:
    return plans.sent(plan, world.port(plan), "1.1")


async def _leave_amid(data: bytes, wire: Wire, random: Random, least: int = 1) -> None:
    await send(wire, cut(data[: random.randint(least, len(data) - 1)], random))


async def _send_nonsense(world: World, plan: Plan, wire: Wire, random: Random) -> None:
    """Send chunks and then what is none, and be told so."""
    chunks = in_chunks(plans.upload(plan), plan.trailer, random)
    good = _head(world, plan) + chunks[: chunks.rindex(b"0\r\nX-Trailer: ")]
    reader = Reader(wire)
    refused = refusal(reader, plan, world.port(plan), True)
    await while_sending(send(wire, [*cut(good, random, 2), b"zz\r\n"]), refused)
    assert await reader.receive() == b""


async def _read_some(world: World, plan: Plan, wire: Wire) -> None:
    """Read the head and perhaps some of the body."""
    told = plans.told(plan, world.port(plan), "1.1", True)
    await expect_head(Reader(wire), plan, lines(*told))


async def _leave_tunnel(plan: Plan, answer: bytes, wire: Wire, random: Random) -> None:
    """Say something into a tunnel, and do not wait for the answer."""
    await expect_head(Reader(wire), plan, answer)
    await send(wire, cut(plans.upload(plan), random))
