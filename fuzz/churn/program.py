"""One program: rounds of events that come at once, and actions in the callbacks of those."""

import gc
from typing import Final

from fuzz.churn.world import World
from tests.helpers.native import Streams

_ROUNDS: Final = (2, 3, 5)
_EVENTS: Final = (3, 8, 20)
_REACTIONS: Final = (0, 1, 1, 2, 4)
_MAX_OPEN: Final = 30


async def play(name: str) -> None:
    """Play the program of that name, which decides everything in it; raise AssertionError."""
    async with Streams() as streams:
        await _play(World(name, streams.reactor))
    gc.collect()
    left = sum(type(thing).__name__ == "NativeStream" for thing in gc.get_objects())
    assert not left, f"{left} streams are left over"


async def _play(world: World) -> None:
    try:
        for _ in range(world.random.choice(_ROUNDS)):
            _prepare(world)
            await world.settle()
            for connection in world.connections:
                connection.reactions = world.random.choice(_REACTIONS)
            for _ in range(world.random.choice(_EVENTS)):
                world.act(world.random)
            await world.settle()
        world.release_all()
        await world.settle()
        world.close_streams()
        await world.settle()
    finally:
        world.close()


def _prepare(world: World) -> None:
    """Open some connections, and have sockets that callbacks open."""
    for _ in range(world.random.choice(_EVENTS)):
        if len(world.connections) < _MAX_OPEN:
            world.openings.prepare(world.random)
    for _ in range(world.random.choice(_EVENTS) // 2):
        world.openings.open()
    if world.random.random() < 0.5:
        world.openings.watch()
