"""Calls that a batch of events puts off: they come behind its events, and before the loop's own."""

import asyncio
import gc
from functools import partial

import pytest

pytest.importorskip("cmux_proxy.net._reactor")

from tests.helpers.loops import FACTORIES
from tests.helpers.native import HOSTINGS, Recorder, Streams, arrive, reports, turns

__all__ = ["HOSTINGS"]


async def open_two(streams: Streams) -> tuple[Recorder, Recorder]:
    """Return two owners to which bytes have come, in one batch."""
    owners = await streams.open(), await streams.open()
    for owner in owners:
        arrive(owner, b"x")
    return owners


async def test_a_call_comes_behind_the_events_of_its_batch_and_before_those_of_the_loop() -> None:
    calls: list[str] = []

    def put_off(name: str) -> None:
        asyncio.get_running_loop().call_soon(calls.append, f"loop {name}")
        streams.backend.call_soon(partial(calls.append, f"batch {name}"))
        calls.append(name)

    async with Streams() as streams:
        for name, owner in zip("ab", await open_two(streams), strict=True):
            owner.on["data_received"] = partial(put_off, name)
        await turns()
    first, second = calls[:2]
    assert {first, second} == {"a", "b"}
    assert calls[2:] == [f"batch {first}", f"batch {second}", f"loop {first}", f"loop {second}"]


async def test_what_a_call_ends_is_lost_with_the_batch() -> None:
    calls: list[str] = []
    seen: list[bool] = []

    def put_off() -> None:
        asyncio.get_running_loop().call_soon(lambda: seen.append(owner.is_lost))
        streams.backend.call_soon(owner.stream.abort)

    async with Streams() as streams:
        owner = await streams.open()
        owner.on["data_received"] = put_off
        # What a loss puts off is not forgotten.
        owner.on["connection_lost"] = lambda: streams.backend.call_soon(
            partial(calls.append, "called")
        )
        arrive(owner, b"x")
        await turns()
    assert seen == [True]
    assert calls == ["called"]


async def test_a_call_that_puts_another_off_does_not_keep_the_batch_from_ending() -> None:
    calls: list[str] = []

    def call_again() -> None:
        calls.append("batch")
        if len(calls) < 10:
            streams.backend.call_soon(call_again)

    async with Streams() as streams:
        owner = await streams.open()
        owner.on["data_received"] = lambda: streams.backend.call_soon(call_again)
        arrive(owner, b"x")
        await owner.receives(b"x")
        asyncio.get_running_loop().call_soon(calls.append, "loop")
        await turns()
    assert calls.index("loop") <= 2
    assert calls.count("batch") >= 9


async def test_without_a_batch_a_call_comes_in_the_next_turn() -> None:
    calls: list[str] = []
    async with Streams() as streams:
        streams.backend.call_soon(partial(calls.append, "called"))
        assert calls == []
        await asyncio.sleep(0)
        assert calls == ["called"]
    # The loop goes on when the proxy is closed.
    streams.backend.call_soon(partial(calls.append, "again"))
    await asyncio.sleep(0)
    assert calls == ["called", "again"]


async def test_a_call_that_raises_is_reported_and_the_others_are_made() -> None:
    calls: list[str] = []

    def put_off() -> None:
        streams.backend.call_soon({}.popitem)
        streams.backend.call_soon(partial(calls.append, "called"))

    async with Streams() as streams:
        owner = await streams.open()
        owner.on["data_received"] = put_off
        with reports() as contexts:
            arrive(owner, b"x")
            await turns()
        assert calls == ["called"]
        [context] = contexts
        assert isinstance(context["exception"], KeyError)
        # The streams have nothing to do with it.
        assert not owner.is_lost


def test_what_ends_the_process_is_raised_after_all_calls(loop_name: str) -> None:
    calls: list[str] = []

    def interrupt() -> None:
        raise KeyboardInterrupt

    def put_off() -> None:
        streams.backend.call_soon(interrupt)
        streams.backend.call_soon(partial(calls.append, "called"))

    async def trigger() -> None:
        await streams.__aenter__()
        owner = await streams.open()
        owner.on["data_received"] = put_off
        arrive(owner, b"x")
        await turns()

    streams = Streams()
    loop = FACTORIES[loop_name]()
    try:
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(trigger())
        assert calls == ["called"]
        loop.run_until_complete(streams.__aexit__())
    finally:
        loop.close()
        # What the interrupted task leaves goes with this test.
        gc.collect()
