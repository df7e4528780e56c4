"""Two streams become one, half-closes and breaks included; `test_forward.py` has whole programs."""

import asyncio

import pytest

from cmux_proxy.client.pipe import join
from tests.helpers.timing import soon
from tests.helpers.wire import Wire, WireListener


class Joined:
    """Two plain connections whose ends are joined here."""

    def __init__(self, near: Wire, far: Wire) -> None:
        self.near = near
        self.far = far
        self.sent = 0
        self.received = 0

    def count_sent(self, count: int) -> None:
        self.sent += count

    def count_received(self, count: int) -> None:
        self.received += count


async def joined() -> tuple[Joined, "asyncio.Task[None]"]:
    listener = WireListener()
    ends = []
    wires = []
    for _ in range(2):
        ends.append(await asyncio.open_connection("127.0.0.1", listener.port))
        wires.append(await soon(listener.accept()))
    listener.close()
    both = Joined(*wires)
    (reader, writer), (other_reader, other_writer) = ends
    joining = join(reader, writer, other_reader, other_writer, both.count_sent, both.count_received)
    return both, asyncio.get_running_loop().create_task(joining)


async def test_bytes_are_copied_in_both_directions_and_counted() -> None:
    both, task = await joined()
    await both.near.send(b"there")
    assert await soon(both.far.receive()) == b"there"
    await both.far.send(b"and back")
    assert await soon(both.near.receive()) == b"and back"
    both.near.end()
    assert await soon(both.far.receive()) == b""
    await both.far.send(b"!")
    assert await soon(both.near.receive()) == b"!"
    both.far.end()
    assert await soon(both.near.receive()) == b""
    await soon(task)
    assert (both.sent, both.received) == (5, 9)
    both.near.close()
    both.far.close()


async def test_large_data_arrives_completely_after_the_sender_has_closed() -> None:
    both, task = await joined()
    content = bytes(range(256)) * 20_000
    sending = asyncio.get_running_loop().create_task(both.near.send(content))
    both_far = bytearray()
    while len(both_far) < len(content):
        both_far += await soon(both.far.receive())
    await soon(sending)
    both.near.end()
    both.far.end()
    assert bytes(both_far) == content
    assert await soon(both.far.receive()) == b""
    await soon(task)
    both.near.close()
    both.far.close()


async def test_a_reset_on_one_side_resets_the_other() -> None:
    both, task = await joined()
    both.near.reset()
    with pytest.raises(ConnectionResetError):
        await soon(both.far.receive())
    both.far.close()
    await soon(task)
