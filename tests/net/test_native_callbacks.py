"""What owners may do in their callbacks, and what happens where one of them raises."""

import contextlib
import functools
import gc
import os
import socket
import weakref
from collections.abc import Iterator

import pytest

pytest.importorskip("cmux_proxy.net._reactor")

from cmux_proxy.net.asyncio_backend import raw_socket
from tests.helpers.loops import FACTORIES
from tests.helpers.native import (
    HOSTINGS,
    BufferedRecorder,
    Recorder,
    Streams,
    arrive,
    arrive_end,
    reports,
    turns,
)

__all__ = ["HOSTINGS"]

CALLBACKS = (
    "connection_made", "data_received", "get_buffer", "buffer_updated", "eof_received",
    "pause_writing", "resume_writing", "connection_lost",
)  # fmt: skip
every_callback = pytest.mark.parametrize("callback", CALLBACKS)


class Refusal(Exception):
    """What callbacks of these tests raise."""


def recorder_for(callback: str, stays_open: bool = True) -> Recorder:
    """Return an owner with the kind of reading that has this callback."""
    if callback in ("get_buffer", "buffer_updated"):
        return BufferedRecorder(64, stays_open)
    return Recorder(stays_open)


async def provoke(owner: Recorder) -> None:
    """Cause each callback once, as long as the stream lives."""
    owner.stream.set_write_buffer_limits(high=0)
    sock = owner.stream.get_extra_info("socket")
    # Bytes past the stream, so that a write of its own waits.
    with contextlib.suppress(OSError):
        while not owner.stream.is_closing():
            sock.send(bytes(5000))
    with contextlib.suppress(RuntimeError):
        owner.stream.write(b"waits")
    with contextlib.suppress(OSError):
        arrive(owner, b"hello")
        owner.wire.end()
    await turns()
    while owner.wire.take_arrived():
        await turns()
    await turns()
    owner.stream.abort()
    await owner.lost()
    await turns()


def act(owner: Recorder, action: str) -> None:
    stream = owner.stream
    match action:
        case "write":
            stream.write(b"some bytes")
        case "writelines":
            stream.writelines([b"some", memoryview(b"bytes")])
        case "write_much":
            stream.write(bytes(500_000))
        case "write_eof":
            stream.write_eof()
        case "close" | "abort" | "pause_reading" | "resume_reading" | "is_closing":
            getattr(stream, action)()
        case "pause_and_resume":
            stream.pause_reading()
            stream.resume_reading()
        case "close_and_abort":
            stream.close()
            stream.abort()
        case "set_protocol":
            stream.set_protocol(owner)
        case "get_protocol":
            assert stream.get_protocol() is owner
        case "get_extra_info":
            assert stream.get_extra_info("socket").fileno() == owner.fd


ACTIONS = (
    "write", "writelines", "write_much", "write_eof", "close", "abort", "close_and_abort",
    "pause_reading", "resume_reading", "pause_and_resume", "is_closing", "set_protocol",
    "get_protocol", "get_extra_info",
)  # fmt: skip


@every_callback
@pytest.mark.parametrize("action", ACTIONS)
async def test_an_owner_may_do_everything_in_each_callback(callback: str, action: str) -> None:
    def once() -> None:
        del owner.on[callback]
        before = list(owner.calls)
        act(owner, action)
        # Only this may happen within.
        new = owner.calls[len(before) :]
        assert new in ([], ["pause_writing"])

    async with Streams() as streams:
        owner = recorder_for(callback)
        owner.on[callback] = once
        await streams.open(owner, socket.AF_UNIX)
        await provoke(owner)
        if action not in ("close", "abort", "close_and_abort"):
            assert callback not in owner.on
        assert owner.calls[0] == "connection_made"
        assert owner.calls[-1] == "connection_lost"
        assert owner.calls.count("connection_lost") == 1
        assert owner.calls.count("eof_received") <= 1
        assert owner.error is None
        assert owner.stream.get_protocol() is None
        # A stream that is lost takes every call.
        with contextlib.suppress(RuntimeError):
            owner.stream.write(b"late")
        with contextlib.suppress(RuntimeError):
            owner.stream.writelines([b"very", b"late"])
        owner.stream.write_eof()
        owner.stream.pause_reading()
        owner.stream.resume_reading()
        owner.stream.close()
        owner.stream.abort()
        assert owner.stream.is_closing()
        assert raw_socket(owner.stream) is None
        assert owner.stream.get_write_buffer_size() == 0
        await turns()
        assert owner.calls.count("connection_lost") == 1


@pytest.mark.parametrize("callback", ["data_received", "buffer_updated", "eof_received"])
async def test_a_stream_that_is_aborted_in_a_callback_reads_nothing_more(callback: str) -> None:
    async with Streams() as streams:
        owner = await streams.open(recorder_for(callback))
        owner.on[callback] = owner.stream.abort
        arrive(owner, b"hello")
        arrive_end(owner)
        await owner.lost()
        assert owner.calls[-2:] == [callback, "connection_lost"]


@pytest.mark.parametrize("end", ["close", "abort"])
async def test_the_loss_is_reported_after_the_call_that_ends_it(end: str) -> None:
    async with Streams() as streams:
        owner = await streams.open()
        getattr(owner.stream, end)()
        assert not owner.is_lost
        # The descriptor is open until then, so that no other connection has its number.
        assert os.fstat(owner.fd)
        await owner.lost()
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(owner.fd)


async def test_an_abort_of_another_stream_in_a_callback_is_reported_after_the_batch() -> None:
    async with Streams() as streams:
        order: list[str] = []
        first, second, third = [await streams.open() for _ in range(3)]
        for name, owner in (("first", first), ("second", second), ("third", third)):
            owner.on["data_received"] = lambda name=name: order.append(name)  # type: ignore[misc]
            owner.on["connection_lost"] = lambda name=name: order.append(f"{name} lost")  # type: ignore[misc]

        def end_second() -> None:
            second.stream.abort()
            order.append("first")

        first.on["data_received"] = end_second
        for owner in (first, second, third):
            arrive(owner, b"x")
        await second.lost()
        assert order == ["first", "third", "second lost"]


async def test_a_loss_that_causes_another_is_followed_by_it() -> None:
    async with Streams() as streams:
        first, second = await streams.open(), await streams.open()
        first.on["connection_lost"] = second.stream.abort
        first.stream.abort()
        await second.lost()


@every_callback
async def test_a_callback_that_raises_drops_the_connection_and_is_reported(callback: str) -> None:
    def refuse() -> None:
        owner.on.clear()
        raise refusal

    refusal = Refusal()
    with reports() as contexts:
        async with Streams() as streams:
            owner = recorder_for(callback)
            owner.on[callback] = refuse
            other = await streams.open()
            await streams.open(owner, socket.AF_UNIX)
            await provoke(owner)
            assert owner.calls.count("connection_lost") == 1
            assert owner.calls[-1] == "connection_lost"
            if callback != "connection_lost":
                assert owner.calls[-2] == callback
                assert owner.error is refusal
                assert contexts[0]["transport"] is owner.stream
            assert [context["exception"] for context in contexts] == [refusal]
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.fstat(owner.fd)
            # Others go on.
            await other.wire.send(b"still here")
            await other.receives(b"still here")


async def test_an_owner_that_cannot_pause_is_dropped_and_not_who_writes() -> None:
    def refuse() -> None:
        raise refusal

    refusal = Refusal()
    with reports() as contexts:
        async with Streams() as streams:
            reader, writer = await streams.open(), await streams.open(family=socket.AF_UNIX)
            writer.stream.set_write_buffer_limits(high=0)
            writer.on["pause_writing"] = refuse
            reader.on["data_received"] = lambda: writer.stream.write(bytes(3_000_000))
            arrive(reader, b"x")
            await writer.lost()
            assert writer.error is refusal
            await turns()
            assert not reader.is_lost
            assert [context["exception"] for context in contexts] == [refusal]


async def test_an_os_error_of_a_callback_is_the_loss_and_no_report() -> None:
    def refuse() -> None:
        raise refusal

    refusal = OSError("as asyncio does it")
    with reports() as contexts:
        async with Streams() as streams:
            owner = await streams.open()
            owner.on["data_received"] = refuse
            arrive(owner, b"x")
            await owner.lost()
            assert owner.error is refusal
    assert contexts == []


async def test_a_buffer_of_no_bytes_drops_the_connection() -> None:
    with reports() as contexts:
        async with Streams() as streams:
            owner = await streams.open(BufferedRecorder(0))
            arrive(owner, b"bytes without a place")
            await owner.until(lambda: owner.calls.count("get_buffer") > 3 or owner.is_lost)
            assert isinstance(owner.error, RuntimeError)
    assert "empty buffer" in str(contexts[0]["exception"])


@pytest.mark.parametrize("buffer", [b"cannot be written to", None, "text"])
async def test_what_is_no_buffer_drops_the_connection(buffer: object) -> None:
    with reports() as contexts:
        async with Streams() as streams:
            owner = BufferedRecorder(1)
            owner.buffer = buffer  # type: ignore[assignment]
            await streams.open(owner)
            arrive(owner, b"x")
            await owner.lost()
            assert isinstance(owner.error, (BufferError, TypeError))
    assert len(contexts) == 1


def cause(owner: Recorder, callback: str) -> None:
    """Cause a callback in the next turn, or now if it is `pause_writing`."""
    match callback:
        case "eof_received":
            arrive_end(owner)
        case "pause_writing" | "resume_writing":
            owner.stream.set_write_buffer_limits(high=0)
            while not owner.stream.get_write_buffer_size():
                owner.stream.write(bytes(5000))
            while owner.wire.take_arrived():
                pass
        case _:
            arrive(owner, b"x")


@pytest.fixture
def _collect() -> Iterator[None]:
    """Free what an interrupted task leaves, or the next test sees its sockets disappear."""
    yield
    gc.collect()


@pytest.mark.usefixtures("_collect")
@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("callback", CALLBACKS[1:])
def test_what_ends_the_process_is_raised_after_the_batch(
    loop_name: str, end: type[BaseException], callback: str
) -> None:
    def raise_end() -> None:
        owner.on.clear()
        raise end

    async def prepare() -> None:
        await streams.__aenter__()
        await streams.open(owner, socket.AF_UNIX)
        await streams.open(other)
        other.stream.max_size = 4

    async def trigger() -> None:
        owner.on[callback] = raise_end
        if callback == "connection_lost":
            other.on["data_received"] = owner.stream.abort
        else:
            cause(owner, callback)
        arrive(other, b"in the same batch")
        await turns()

    async def finish() -> None:
        # What was read only in part is read to the end, though no event announces it.
        if callback != "pause_writing":
            await other.receives(b"in the same batch")
        await streams.__aexit__()

    streams, owner, other = Streams(), recorder_for(callback), Recorder()
    loop = FACTORIES[loop_name]()
    try:
        loop.run_until_complete(prepare())
        with pytest.raises(end):
            loop.run_until_complete(trigger())
        # Only `write` calls `pause_writing`, so that there is no batch.
        assert other.received or callback == "pause_writing"
        loop.run_until_complete(finish())
    finally:
        loop.close()


@pytest.mark.parametrize("end", ["close", "abort", "end", "reset", "set_protocol"])
async def test_nothing_keeps_a_lost_stream_and_its_owner(end: str) -> None:
    async with Streams() as streams:
        owner = await streams.open()
        stream, wire = owner.stream, owner.wire
        sock = stream.get_extra_info("socket")
        # The socket shows whether the stream is gone, to which nothing can refer weakly.
        references = [weakref.ref(owner), weakref.ref(sock)]
        if end == "set_protocol":
            owner.on["connection_lost"] = functools.partial(stream.set_protocol, owner)
        gc.disable()
        try:
            match end:
                case "close" | "abort":
                    getattr(stream, end)()
                case "reset":
                    wire.reset()
                case _:
                    wire.end()
            await owner.lost()
            await turns()
            owner.on.clear()
            streams.forget(owner)
            del owner, stream, sock
            assert [reference() for reference in references] == [None, None]
        finally:
            gc.enable()


async def test_a_socket_that_outlives_its_stream_does_not_close_the_next_descriptor() -> None:
    async with Streams() as streams:
        owner = await streams.open()
        sock = owner.stream.get_extra_info("socket")
        assert sock is owner.stream.get_extra_info("socket")
        assert sock.getpeername() == owner.wire.sock.getsockname()
        owner.stream.abort()
        await owner.lost()
        assert sock.fileno() == -1
        reused = os.open(os.devnull, os.O_RDONLY)
        try:
            assert reused == owner.fd
            del sock
            gc.collect()
            assert os.fstat(reused)
        finally:
            os.close(reused)
