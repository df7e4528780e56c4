"""Tunnels of both kinds: ends, resets, and that nothing is lost (contract, section 5)."""

import asyncio
import hashlib

import pytest

from tests.helpers.script import Peer, Stage, stage
from tests.helpers.timing import later

KINDS = ["connect", "upgrade"]
DIRECTIONS = ["from the client", "from the upstream"]

either_kind = pytest.mark.parametrize("kind", KINDS)
either_way = pytest.mark.parametrize("direction", DIRECTIONS)


async def tunnel(on: Stage, kind: str, direction: str) -> tuple[Peer, Peer]:
    """Return the two ends of a tunnel, the one that acts first."""
    client, upstream = await (on.tunnel() if kind == "connect" else on.websocket())
    return (client, upstream) if direction == DIRECTIONS[0] else (upstream, client)


@either_kind
@either_way
async def test_an_end_is_passed_on_and_the_opposite_direction_flows_on(
    direction: str, kind: str
) -> None:
    async with stage() as on:
        one, other = await tunnel(on, kind, direction)
        await one.says(b"last words")
        one.ends()
        await other.gets(b"last words")
        await other.gets_end()
        for piece in (b"still", b"here"):
            await other.says(piece)
            await one.gets(piece)
        other.ends()
        await one.gets_end()
        await on.serves()


@either_kind
@either_way
async def test_much_may_flow_after_the_other_direction_has_ended(direction: str, kind: str) -> None:
    async with stage() as on:
        one, other = await tunnel(on, kind, direction)
        one.ends()
        await other.gets_end()
        data = bytes(range(256)) * 20_000
        sending = asyncio.get_running_loop().create_task(_say_and_end(other, data))
        received = await later(one.wire.receive_all())
        await sending
        assert received == data


@either_kind
@either_way
async def test_a_reset_is_a_reset_on_the_other_side(direction: str, kind: str) -> None:
    async with stage() as on:
        one, other = await tunnel(on, kind, direction)
        one.resets()
        await other.gets_reset()


@either_kind
@either_way
async def test_a_reset_after_the_other_side_has_ended_is_a_reset(direction: str, kind: str) -> None:
    async with stage() as on:
        one, other = await tunnel(on, kind, direction)
        other.ends()
        await one.gets_end()
        one.resets()
        await other.gets_reset()


@either_kind
@either_way
async def test_a_side_that_closes_for_good_ends_the_other(direction: str, kind: str) -> None:
    async with stage() as on:
        one, other = await tunnel(on, kind, direction)
        await one.says(b"bye")
        one.closes()
        await other.gets(b"bye")
        await other.gets_end()
        # Whatever is still sent meets a closed socket; the tunnel ends and takes both along.
        await other.says_until_cut(bytes(65_536))


@either_kind
async def test_both_sides_may_end_at_once(kind: str) -> None:
    async with stage() as on:
        one, other = await tunnel(on, kind, DIRECTIONS[0])
        one.ends()
        other.ends()
        await one.gets_end()
        await other.gets_end()
        await on.serves()


@either_kind
async def test_much_flows_both_ways_at_once_and_arrives_whole(kind: str) -> None:
    async with stage() as on:
        one, other = await tunnel(on, kind, DIRECTIONS[0])
        up = bytes(range(256)) * 12_345
        down = bytes(reversed(range(256))) * 23_456
        loop = asyncio.get_running_loop()
        sending = [
            loop.create_task(_say_and_end(one, up)),
            loop.create_task(_say_and_end(other, down)),
        ]
        received = await later(asyncio.gather(one.wire.receive_all(), other.wire.receive_all()))
        await asyncio.gather(*sending)
        assert [hashlib.sha256(data).digest() for data in received] == [
            hashlib.sha256(down).digest(),
            hashlib.sha256(up).digest(),
        ]


@either_kind
async def test_an_idle_tunnel_stays_open_past_all_deadlines(kind: str) -> None:
    async with stage() as on:
        one, other = await tunnel(on, kind, DIRECTIONS[0])
        # The clock is a day ahead: whatever had a deadline would be over.
        ticker = on.proxy.services.ticker
        ticker.walk(asyncio.get_running_loop().time() + 86_400)
        await one.says(b"still")
        await other.gets(b"still")
        await other.says(b"here")
        await one.gets(b"here")


async def _say_and_end(peer: Peer, data: bytes) -> None:
    await peer.wire.send(data)
    peer.ends()


@either_kind
@either_way
async def test_a_side_that_is_reset_as_the_other_ends_leaves_nothing_behind(
    direction: str, kind: str
) -> None:
    async with stage() as on:
        for _ in range(5):
            one, other = await tunnel(on, kind, direction)
            # Nothing runs in between: the end is passed on to a socket that was reset already.
            one.ends()
            other.resets()
            assert await one.gets_cut() == b""
        await on.proxy.drain()
