"""Tunnels of both kinds: the client's side, and the conversation inside, the same for both sides.

One side ends first, and the other keeps its last bytes back until it has seen that end: they get
through only where a half-close is a half-close.
"""

from random import Random

from tests.helpers.messages import Reader
from tests.helpers.wire import Wire
from tests.network.mixed_load import plans
from tests.network.mixed_load.bodies import content, cut
from tests.network.mixed_load.plans import Plan, lines
from tests.network.mixed_load.reading import expect_head
from tests.network.mixed_load.wires import read_to_end, send, while_sending
from tests.network.mixed_load.world import World, expect


def connecting(world: World, plan: Plan) -> bytes:
    """Return a CONNECT and, right behind it, what tells the upstream the plan."""
    route = f"X-Cmux-Port-Internal: {world.port(plan)}"
    return lines(
        *("CONNECT load.test:80 HTTP/1.1", "Host: load.test:80", route, "", ""),
    ) + lines(f"TUNNEL {plan.target} -", "", "")


async def connect(world: World, plan: Plan, wire: Wire, random: Random) -> None:
    """Go through a CONNECT tunnel, early bytes and half-close included."""
    out, wanted = contents(plan)
    early = out[: random.randint(0, len(out) // 2)]
    reader = Reader(wire)
    await wire.send(connecting(world, plan) + early)
    await expect_head(reader, plan, b"HTTP/1.1 200 Connection established")
    out = out[len(early) :]
    got = await converse(reader, out, plan.name == "client-first", random)
    expect(plan, "bytes from the upstream", got, wanted)


def contents(plan: Plan) -> tuple[bytes, bytes]:
    """Return what the client and what the upstream say inside."""
    return content(f"up {plan.key}", plan.up + 1), content(f"down {plan.key}", plan.down + 1)


async def converse(reader: Reader, out: bytes, ends_first: bool, random: Random) -> bytes:
    """Say `out` and return all that the other says."""
    held = b"" if ends_first else out[-1:]
    pieces = cut(out[: len(out) - len(held)], random)
    got = await while_sending(send(reader.wire, pieces, ends_first), read_to_end(reader))
    if not ends_first:
        await send(reader.wire, [held], ends=True)
    return got


async def upgrade(world: World, plan: Plan, wire: Wire, random: Random) -> None:
    """Upgrade, have everything echoed, early bytes included, and end."""
    port = world.port(plan)
    out = plans.upload(plan)
    early = out[: random.randint(0, len(out))]
    reader = Reader(wire)
    await send(wire, cut(plans.sent(plan, port, "1.1") + early, random))
    await expect_head(reader, plan, lines(*plans.said(plan, port)))
    sending = send(wire, cut(out[len(early) :], random), ends=True)
    got = await while_sending(sending, read_to_end(reader))
    expect(plan, "greeting and echo", got, plans.body(plan, port) + out)
