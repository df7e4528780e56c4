"""Tunnels by CONNECT and by upgrade: half-closes, resets, no lost bytes (contract, section 5)."""

import asyncio
import hashlib

import pytest

from tests.helpers.script import Peer, Stage, stage
from tests.helpers.timing import later

TUNNEL_TYPES = ["connect", "upgrade"]
DIRECTIONS = ["from the client", "from the upstream"]

either_type = pytest.mark.parametrize("tunnel_type", TUNNEL_TYPES)
either_way = pytest.mark.parametrize("direction", DIRECTIONS)


async def tunnel(on: Stage, tunnel_type: str, direction: str) -> tuple[Peer, Peer]:
    """Return both sides of a tunnel; the first one is the one that `direction` names."""
    client, upstream = await (on.tunnel() if tunnel_type == "connect" else on.websocket())
    return (client, upstream) if direction == DIRECTIONS[0] else (upstream, client)


@either_type
@either_way
async def test_a_half_close_is_passed_on_and_the_opposite_direction_stays_open(
    direction: str, tunnel_type: str
) -> None:
    async with stage() as on:
        first, second = await tunnel(on, tunnel_type, direction)
        await first.says(b"last words")
        first.ends()
        await second.gets(b"last words")
        await second.gets_end()
        for data in (b"still", b"here"):
            await second.says(data)
            await first.gets(data)
        second.ends()
        await first.gets_end()
        await on.serves()


@either_type
@either_way
async def test_many_bytes_may_follow_a_half_close_of_the_other_direction(
    direction: str, tunnel_type: str
) -> None:
    async with stage() as on:
        first, second = await tunnel(on, tunnel_type, direction)
        first.ends()
        await second.gets_end()
        data = bytes(range(256)) * 20_000
        sending = asyncio.get_running_loop().create_task(_send_and_end(second, data))
        received = await later(first.wire.receive_all())
        await sending
        assert received == data


@either_type
@either_way
async def test_a_reset_is_passed_on(direction: str, tunnel_type: str) -> None:
    async with stage() as on:
        first, second = await tunnel(on, tunnel_type, direction)
        first.resets()
        await second.gets_reset()


@either_type
@either_way
async def test_a_reset_after_a_half_close_of_the_other_side_is_passed_on(
    direction: str, tunnel_type: str
) -> None:
    async with stage() as on:
        first, second = await tunnel(on, tunnel_type, direction)
        second.ends()
        await first.gets_end()
        first.resets()
        await second.gets_reset()


@either_type
@either_way
async def test_a_close_of_one_side_closes_the_other(direction: str, tunnel_type: str) -> None:
    async with stage() as on:
        first, second = await tunnel(on, tunnel_type, direction)
        await first.says(b"bye")
        first.closes()
        await second.gets(b"bye")
        await second.gets_end()
        # Further bytes are for a closed socket, which closes the tunnel.
        await second.says_until_cut(bytes(65_536))


@either_type
async def test_both_sides_may_half_close_at_once(tunnel_type: str) -> None:
    async with stage() as on:
        first, second = await tunnel(on, tunnel_type, DIRECTIONS[0])
        first.ends()
        second.ends()
        await first.gets_end()
        await second.gets_end()
        await on.serves()


@either_type
async def test_many_bytes_in_both_directions_at_once_arrive_completely(tunnel_type: str) -> None:
    async with stage() as on:
        first, second = await tunnel(on, tunnel_type, DIRECTIONS[0])
        up = bytes(range(256)) * 12_345
        down = bytes(reversed(range(256))) * 23_456
        loop = asyncio.get_running_loop()
        sending = [
            loop.create_task(_send_and_end(first, up)),
            loop.create_task(_send_and_end(second, down)),
        ]
        received = await later(asyncio.gather(first.wire.receive_all(), second.wire.receive_all()))
        await asyncio.gather(*sending)
        assert [hashlib.sha256(data).digest() for data in received] == [
            hashlib.sha256(down).digest(),
            hashlib.sha256(up).digest(),
        ]


@either_type
async def test_an_idle_tunnel_has_no_timeout_by_default(tunnel_type: str) -> None:
    async with stage() as on:
        first, second = await tunnel(on, tunnel_type, DIRECTIONS[0])
        # The clock is a day ahead, so that any deadline would have passed.
        ticker = on.proxy.services.ticker
        ticker.walk(asyncio.get_running_loop().time() + 86_400)
        await first.says(b"still")
        await second.gets(b"still")
        await second.says(b"here")
        await first.gets(b"here")


async def _send_and_end(peer: Peer, data: bytes) -> None:
    await peer.wire.send(data)
    peer.ends()


@either_type
@either_way
async def test_a_simultaneous_half_close_and_reset_leave_nothing_behind(
    direction: str, tunnel_type: str
) -> None:
    async with stage() as on:
        for _ in range(5):
            first, second = await tunnel(on, tunnel_type, direction)
            # The proxy does not run in between, so it passes the end on to a reset connection.
            first.ends()
            second.resets()
            assert await first.gets_cut() == b""
        await on.proxy.drain()
