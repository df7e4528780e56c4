"""Tunnels by upgrade and CONNECT: the client's side, and the bytes inside.

One side half-closes first. The other side sends its last byte after it has received that end, so
the byte arrives only if the half-close is passed on as a half-close.
"""

from random import Random

from tests.helpers.messages import Reader
from tests.helpers.wire import Wire
from tests.network.mixed_load import plans
from tests.network.mixed_load.bodies import content, cut
from tests.network.mixed_load.expectations import expect_head
from tests.network.mixed_load.plans import Plan, lines
from tests.network.mixed_load.wires import read_to_end, send, while_sending
from tests.network.mixed_load.world import World, expect


def connect_head(world: World, plan: Plan) -> bytes:
    """Return a CONNECT, and after it a line with the plan for the upstream."""
    route = f"X-Cmux-Port-Internal: {world.port(plan)}"
    return lines(
        *("CONNECT load.test:80 HTTP/1.1", "Host: load.test:80", route, "", ""),
    ) + lines(f"TUNNEL {plan.target} -", "", "")


async def connect(world: World, plan: Plan, wire: Wire, random: Random) -> None:
    """Exchange bytes through a CONNECT tunnel, with early bytes and half-close."""
    out, expected = contents(plan)
    early = out[: random.randint(0, len(out) // 2)]
    reader = Reader(wire)
    await wire.send(connect_head(world, plan) + early)
    await expect_head(reader, plan, b"HTTP/1.1 200 Connection established")
    out = out[len(early) :]
    got = await converse(reader, out, plan.name == "client-first", random)
    expect(plan, "bytes from the upstream", got, expected)


def contents(plan: Plan) -> tuple[bytes, bytes]:
    """Return the bytes of the client and of the upstream inside the tunnel."""
    return content(f"up {plan.key}", plan.up + 1), content(f"down {plan.key}", plan.down + 1)


async def converse(reader: Reader, out: bytes, ends_first: bool, random: Random) -> bytes:
    """Send `out` and return all bytes of the other side."""
    held = b"" if ends_first else out[-1:]
    parts = cut(out[: len(out) - len(held)], random)
    got = await while_sending(send(reader.wire, parts, ends_first), read_to_end(reader))
    if not ends_first:
        await send(reader.wire, [held], ends=True)
    return got


async def upgrade(world: World, plan: Plan, wire: Wire, random: Random) -> None:
    """Upgrade, let the upstream echo all bytes, and half-close."""
    port = world.port(plan)
    out = plans.upload(plan)
    early = out[: random.randint(0, len(out))]
    reader = Reader(wire)
    await send(wire, cut(plans.request_head(plan, port, "1.1") + early, random))
    await expect_head(reader, plan, lines(*plans.upstream_response_lines(plan, port)))
    sending = send(wire, cut(out[len(early) :], random), ends=True)
    got = await while_sending(sending, read_to_end(reader))
    expect(plan, "greeting and echo", got, plans.response_body(plan, port) + out)
