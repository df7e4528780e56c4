"""A loop that the reactor leads, and loops that host one: what else they do, idle and under load.

Under load, streams have events in each turn, and no callback of theirs is Python code: nothing but
the reactor itself can let signals, timers, other threads and the loop have their turn.
"""

import asyncio
import contextlib
import faulthandler
import os
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

pytest.importorskip("cmux_proxy.net._reactor")

from cmux_proxy.net._stream_factory import adopt
from cmux_proxy.net._turns import Turns
from cmux_proxy.net.native_loop import NativeLoop, ReactorSelector
from tests.helpers.loops import FACTORIES
from tests.helpers.native import HOSTINGS, Recorder, Streams, arrive, turns
from tests.helpers.timing import MS, SOON, soon

__all__ = ["HOSTINGS"]


@contextlib.contextmanager
def watchdog() -> Iterator[None]:
    """End the process where a loop does not come back to Python any more: no timeout would."""
    assert sys.__stderr__ is not None
    faulthandler.dump_traceback_later(3 * SOON, exit=True, file=sys.__stderr__)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


@contextlib.asynccontextmanager
async def full_load() -> AsyncIterator[Streams]:
    """Send bytes back and forth between two streams, from C to C and without a pause."""
    with watchdog():
        async with Streams() as streams:
            owners = []
            for _ in range(2):
                owners += await echoes(streams)
            try:
                yield streams
            finally:
                for owner in owners:
                    owner.stream.set_protocol(owner)
                    owner.stream.abort()


async def echoes(streams: Streams) -> list[Recorder]:
    """Connect two streams that both send back what they get."""
    peer, ours = socket.socketpair()
    owners = [Recorder(), Recorder()]
    for sock, owner in zip((peer, ours), owners, strict=True):
        owner.fd = sock.fileno()
        adopt(streams.reactor, sock, owner)
        owner.stream.set_protocol(SimpleNamespace(data_received=owner.stream.write))
        streams.keep(owner)
    owners[0].stream.write(b"ball")
    return owners


async def test_a_timer_is_due_under_full_load() -> None:
    async with full_load():
        due = asyncio.Event()
        asyncio.get_running_loop().call_later(2 * MS, due.set)
        await due.wait()


@pytest.mark.parametrize("delay", [0, 1 * MS])
async def test_a_timer_that_a_callback_adds_is_due(delay: float) -> None:
    async with Streams() as streams:
        due = asyncio.Event()
        loop = asyncio.get_running_loop()
        owner = await streams.open()
        owner.on["data_received"] = lambda: loop.call_later(delay, due.set)
        owner.wire.sock.send(b"x")
        await soon(due.wait())


async def test_a_timer_that_a_callback_adds_under_full_load_is_due() -> None:
    async with full_load() as streams:
        due = asyncio.Event()
        loop = asyncio.get_running_loop()
        owner = await streams.open()
        owner.on["data_received"] = lambda: loop.call_later(1 * MS, due.set)
        arrive(owner, b"x")
        await due.wait()


async def test_a_timer_is_due_after_many_others_were_cancelled() -> None:
    # asyncio makes a new list of timers then.
    async with Streams() as streams:
        loop = asyncio.get_running_loop()
        owner = await streams.open()
        for timer in [loop.call_later(3600, turns) for _ in range(500)]:
            timer.cancel()
        await turns()
        due = asyncio.Event()
        owner.on["data_received"] = lambda: loop.call_later(1 * MS, due.set)
        owner.wire.sock.send(b"x")
        # Without another timer that would wake the loop in time.
        await due.wait()


async def test_what_a_callback_calls_soon_is_called() -> None:
    async with Streams() as streams:
        called = asyncio.Event()
        owner = await streams.open()
        owner.on["data_received"] = lambda: asyncio.get_running_loop().call_soon(called.set)
        owner.wire.sock.send(b"x")
        await soon(called.wait())


async def test_a_task_that_a_callback_starts_runs() -> None:
    async def main() -> None:
        ran.set()

    async with Streams() as streams:
        loop, ran = asyncio.get_running_loop(), asyncio.Event()
        tasks: list[asyncio.Task[None]] = []
        owner = await streams.open()
        owner.on["data_received"] = lambda: tasks.append(loop.create_task(main()))
        owner.wire.sock.send(b"x")
        await soon(ran.wait())


async def test_another_thread_makes_progress_under_full_load() -> None:
    def work() -> None:
        # Each yield gives the interpreter away, and needs it again.
        for _ in range(200):
            os.sched_yield()
        loop.call_soon_threadsafe(done.set)

    loop, done = asyncio.get_running_loop(), asyncio.Event()
    async with full_load():
        thread = threading.Thread(target=work)
        thread.start()
        await done.wait()
        thread.join()


async def test_calls_from_threads_are_made_in_an_idle_loop() -> None:
    async with Streams() as streams:
        await streams.open()
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        thread = threading.Thread(target=lambda: loop.call_soon_threadsafe(done.set))
        thread.start()
        await soon(done.wait())
        thread.join()


def kill_from_a_thread() -> threading.Thread:
    """Send a signal when the main thread is back in C."""

    def work() -> None:
        for _ in range(200):
            os.sched_yield()
        os.kill(os.getpid(), signal.SIGUSR1)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


async def test_a_signal_of_the_loop_is_handled_under_full_load() -> None:
    loop, seen = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGUSR1, seen.set)
    async with full_load():
        thread = kill_from_a_thread()
        await seen.wait()
        thread.join()
    loop.remove_signal_handler(signal.SIGUSR1)


async def test_a_signal_of_python_is_handled_under_full_load() -> None:
    # Nothing wakes the loop for such a signal; that it has a turn at all is what counts.
    loop, seen = asyncio.get_running_loop(), asyncio.Event()
    before = signal.signal(signal.SIGUSR1, lambda *_: loop.call_soon_threadsafe(seen.set))
    async with full_load():
        thread = kill_from_a_thread()
        await seen.wait()
        thread.join()
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("is_loaded", [False, True])
def test_an_interrupt_ends_a_loop_that_is_idle_or_under_full_load(
    loop_name: str, is_loaded: bool
) -> None:
    def work() -> None:
        for _ in range(200):
            os.sched_yield()
        os.kill(os.getpid(), signal.SIGUSR1)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    async def main() -> None:
        streams = full_load() if is_loaded else Streams()
        await stack.enter_async_context(streams)
        threads.append(threading.Thread(target=work))
        threads[0].start()
        await asyncio.Event().wait()

    threads: list[threading.Thread] = []
    stack = contextlib.AsyncExitStack()
    before = signal.signal(signal.SIGUSR1, interrupt)
    loop = FACTORIES[loop_name]()
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(main())
    signal.signal(signal.SIGUSR1, before)
    loop.run_until_complete(stack.aclose())
    cancel_all(loop)
    threads[0].join()
    loop.close()


def cancel_all(loop: asyncio.AbstractEventLoop) -> None:
    """End the tasks that an interrupt has left."""
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.wait(tasks))


@pytest.mark.parametrize("is_loaded", [False, True])
def test_a_callback_may_stop_the_loop(loop_name: str, is_loaded: bool) -> None:
    async def prepare() -> None:
        streams = await stack.enter_async_context(full_load() if is_loaded else Streams())
        await streams.open(owner)
        owner.on["data_received"] = loop.stop
        owner.wire.sock.send(b"x")

    owner = Recorder()
    loop = FACTORIES[loop_name]()
    stack = contextlib.AsyncExitStack()
    with watchdog():
        task = loop.create_task(prepare())
        loop.run_forever()
        assert owner.received == b"x"
        loop.run_until_complete(task)
        loop.run_until_complete(stack.aclose())
    loop.close()


def test_a_stop_before_the_run_is_one_turn(loop_name: str) -> None:
    loop = FACTORIES[loop_name]()
    called: list[int] = []
    with watchdog():
        for number in range(2):
            loop.call_soon(called.append, number)
            loop.stop()
            loop.run_forever()
    assert called == [0, 1]
    loop.close()


# Descriptors that asyncio watches


async def both_in_one_batch(
    streams: Streams, watched: socket.socket, act: Callable[[], Any]
) -> None:
    """Make a socket readable, and then call `act` in a callback of a stream, in the same turn."""

    def act_and_report() -> None:
        act()
        done.set()

    owner = await streams.open()
    done = asyncio.Event()
    owner.on["data_received"] = act_and_report
    watched.send(b"x")
    arrive(owner, b"x")
    await soon(done.wait())
    await turns()


async def test_a_reader_that_is_replaced_in_the_turn_of_its_event_is_called() -> None:
    loop, new = asyncio.get_running_loop(), asyncio.Event()
    peer, ours = socket.socketpair()
    with peer, ours:
        async with Streams() as streams:
            loop.add_reader(ours, lambda: None)
            await both_in_one_batch(streams, peer, lambda: loop.add_reader(ours, new.set))
            await soon(new.wait())
            loop.remove_reader(ours)


async def test_a_reader_that_is_removed_in_the_turn_of_its_event_is_not_called() -> None:
    loop = asyncio.get_running_loop()
    calls: list[str] = []
    peer, ours = socket.socketpair()
    with peer, ours:
        async with Streams() as streams:
            owner = await streams.open()
            # The callback of the stream comes first.
            owner.on["data_received"] = lambda: loop.remove_reader(ours)
            loop.add_reader(ours, calls.append, "called")
            arrive(owner, b"x")
            peer.send(b"x")
            await owner.receives(b"x")
            await turns()
            assert calls == []


async def test_a_reader_of_a_number_that_is_used_again_in_the_turn_of_an_event_is_called() -> None:
    def reuse() -> None:
        loop.remove_reader(ours)
        os.dup2(others[1].fileno(), ours.fileno())
        loop.add_reader(ours, new.set)

    loop, new = asyncio.get_running_loop(), asyncio.Event()
    peer, ours = socket.socketpair()
    others = socket.socketpair()
    with peer, ours, others[0], others[1]:
        async with Streams() as streams:
            loop.add_reader(ours, lambda: None)
            await both_in_one_batch(streams, peer, reuse)
            others[0].send(b"x")
            await soon(new.wait())
            loop.remove_reader(ours)


async def test_readers_and_writers_of_one_socket_are_called() -> None:
    loop = asyncio.get_running_loop()
    readable, writable = asyncio.Event(), asyncio.Event()
    peer, ours = socket.socketpair()
    with peer, ours:
        ours.setblocking(False)
        loop.add_writer(ours, writable.set)
        await soon(writable.wait())
        loop.add_reader(ours, readable.set)
        peer.send(b"x")
        await soon(readable.wait())
        loop.remove_writer(ours)
        readable.clear()
        await soon(readable.wait())
        loop.remove_reader(ours)
        assert not loop.remove_reader(ours)


def reuse_forgotten(forgotten: socket.socket) -> tuple[socket.socket, socket.socket]:
    """Close a socket that is still watched; return a peer, and a socket with its number."""
    number = forgotten.fileno()
    peer, ours = socket.socketpair()
    os.dup2(ours.fileno(), number)
    ours.close()
    forgotten.detach()
    peer.setblocking(False)
    return peer, socket.socket(fileno=number)


async def test_a_stream_may_have_the_number_of_a_reader_that_was_forgotten(
    loop_name: str,
) -> None:
    loop = asyncio.get_running_loop()
    calls: list[str] = []
    peer, ours = socket.socketpair()
    with peer:
        async with Streams() as streams:
            loop.add_reader(ours, calls.append, "forgotten")
            other, again = reuse_forgotten(ours)
            number = again.fileno()
            owner = streams.adopt(again, other)
            await owner.wire.send(b"hello")
            await owner.receives(b"hello")
            # A late removal has no effect on the stream.
            loop.remove_reader(number)
            await owner.wire.send(b" again")
            await owner.receives(b"hello again")
            # uvloop watches the new descriptor instead.
            assert calls == [] or loop_name == "nested-uvloop"
            owner.stream.abort()
            await owner.lost()


async def test_subprocesses_run_with_pipes() -> None:
    process = await asyncio.create_subprocess_exec(
        "cat", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await soon(process.communicate(b"through a pipe"))
    assert output == b"through a pipe"
    assert process.returncode == 0


# Of the native loop only


def test_turns_stay_in_c_while_only_streams_have_events() -> None:
    async def main() -> None:
        selector = asyncio.get_running_loop()._selector  # type: ignore[attr-defined]
        select = selector.select

        def count(timeout: float | None) -> object:
            calls.append(timeout)
            return select(timeout)

        def echo(data: bytes) -> None:
            messages.append(data)
            if len(messages) < 10_000:
                owner.stream.write(data)
            else:
                done.set()

        done = asyncio.Event()
        async with Streams() as streams:
            owner, peer = await echoes(streams)
            owner.stream.set_protocol(SimpleNamespace(data_received=echo))
            selector.select = count
            with watchdog():
                await done.wait()
            for one in (owner, peer):
                one.stream.set_protocol(one)

    messages: list[bytes] = []
    calls: list[float | None] = []
    with asyncio.Runner(loop_factory=NativeLoop) as runner:
        runner.run(main())
    assert messages == [b"ball"] * 10_000
    # One that serves them all, and those of the tasks at both ends.
    assert 0 < len(calls) < 20


@pytest.mark.parametrize("events", ["the same", "others"])
def test_a_reader_may_have_the_number_of_one_that_was_forgotten(events: str) -> None:
    # asyncio's own selector reports nothing then, or raises.
    async def main() -> None:
        loop, ready = asyncio.get_running_loop(), asyncio.Event()
        _peer, ours = socket.socketpair()
        with _peer:
            loop.add_reader(ours, calls.append, "forgotten")
            other, again = reuse_forgotten(ours)
            with other, again:
                other.send(b"x")
                add = loop.add_reader if events == "the same" else loop.add_writer
                add(again, ready.set)
                await soon(ready.wait())
                loop.remove_writer(again)
                loop.remove_reader(again)

    calls: list[str] = []
    with asyncio.Runner(loop_factory=NativeLoop) as runner:
        runner.run(main())
    assert calls == ([] if events == "the same" else ["forgotten"])


def test_an_event_of_a_reader_that_was_forgotten_is_dropped() -> None:
    async def main() -> None:
        peer, ours = socket.socketpair()
        with peer:
            async with Streams() as streams:
                asyncio.get_running_loop().add_reader(ours, calls.append, "forgotten")
                owner = await streams.open()
                owner.on["data_received"] = lambda: streams.adopt(*reuse_forgotten(ours)[::-1])
                # Both have an event in the next batch, the reader first.
                peer.send(b"x")
                arrive(owner, b"y")
                await owner.receives(b"y")
                await turns()

    calls: list[str] = []
    with asyncio.Runner(loop_factory=NativeLoop) as runner:
        runner.run(main())
    assert calls == []


def test_a_stream_may_not_have_a_descriptor_that_the_loop_watches() -> None:
    async def main() -> None:
        loop, readable = asyncio.get_running_loop(), asyncio.Event()
        peer, ours = socket.socketpair()
        number, same = ours.fileno(), os.dup(ours.fileno())
        with peer:
            loop.add_reader(ours, readable.set)
            with pytest.raises(RuntimeError, match="is watched already"):
                adopt(loop.reactor, ours, Recorder())  # type: ignore[attr-defined]
            # The descriptor was given away, and is closed; the socket is still watched.
            os.dup2(same, number)
            peer.send(b"x")
            await soon(readable.wait())
            assert loop.remove_reader(number)
            os.close(number)
            os.close(same)

    with asyncio.Runner(loop_factory=NativeLoop) as runner:
        runner.run(main())


def test_a_stream_may_not_have_the_number_of_one_whose_descriptor_others_have_closed() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        peer, ours = socket.socketpair()
        number, owner = ours.fileno(), Recorder()
        other_peer, other = socket.socketpair()
        with peer, other_peer:
            adopt(loop.reactor, ours, owner)  # type: ignore[attr-defined]
            os.dup2(other.fileno(), number)
            other.close()
            # The stream would close the descriptor of the second one.
            with pytest.raises(RuntimeError, match="is watched already"):
                adopt(loop.reactor, socket.socket(fileno=number), Recorder())  # type: ignore[attr-defined]
            owner.stream.abort()
            await owner.lost()

    with asyncio.Runner(loop_factory=NativeLoop) as runner:
        runner.run(main())


def test_streams_may_not_share_a_descriptor() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        peer, ours = socket.socketpair()
        number, owner = ours.fileno(), Recorder()
        same = os.dup(number)
        with peer:
            adopt(loop.reactor, ours, owner)  # type: ignore[attr-defined]
            with pytest.raises(RuntimeError, match="is watched already"):
                adopt(loop.reactor, socket.socket(fileno=number), Recorder())  # type: ignore[attr-defined]
            os.dup2(same, number)
            os.close(same)
            peer.send(b"x")
            await owner.receives(b"x")
            owner.stream.abort()
            await owner.lost()

    with asyncio.Runner(loop_factory=NativeLoop) as runner:
        runner.run(main())


def test_the_selector_has_the_errors_of_the_standard_one() -> None:
    selector = ReactorSelector()
    peer, ours = socket.socketpair()
    with peer, ours:
        key = selector.register(ours, 1, "data")
        assert selector.get_key(ours) == key
        assert dict(selector.get_map()) == {ours.fileno(): key}
        with pytest.raises(KeyError):
            selector.register(ours.fileno(), 1)
        with pytest.raises(KeyError):
            selector.modify(peer, 1)
        peer.send(b"x")
        assert selector.select(0) == [(key, 1)]
        key = selector.modify(ours, 2, "other")
        assert selector.select(0) == [(key, 2)]
        key = selector.modify(ours, 3, "both")
        assert selector.select(0) == [(key, 3)]
    # It may be closed by then.
    assert selector.unregister(ours) == key
    with pytest.raises(KeyError):
        selector.unregister(ours)
    with open(__file__) as file, pytest.raises(PermissionError):
        selector.register(file, 1)
    selector.close()
    selector.close()


def test_a_loop_without_the_private_names_of_asyncio_has_each_turn() -> None:
    turns_ = Turns()
    turns_.lead(cast(asyncio.AbstractEventLoop, SimpleNamespace()))
    peer, ours = socket.socketpair()
    owner = Recorder()
    owner.fd = ours.fileno()
    adopt(turns_.reactor, ours, owner)
    with peer, watchdog():
        peer.send(b"x")
        # It would wait without end otherwise.
        assert turns_.select(None) == []
        assert owner.received == b"x"
    turns_.reactor.close()
    assert owner.is_lost


def test_a_loop_that_closes_aborts_its_streams() -> None:
    async def main() -> None:
        adopt(loop.reactor, ours, owner)

    loop = NativeLoop()
    peer, ours = socket.socketpair()
    owner = Recorder()
    with peer:
        loop.run_until_complete(main())
        assert owner.calls == ["connection_made"]
        loop.close()
        assert owner.calls == ["connection_made", "connection_lost"]
        assert peer.recv(1) == b""
    loop.close()


# Without memory


def without_memory(call: Callable[[], object]) -> None:
    """Make a call while nothing can be allocated, which may fail because of that."""
    no_memory = pytest.importorskip("_testcapi")
    # Here nothing may be allocated either.
    no_memory.set_nomemory(0)
    try:
        call()
    except MemoryError:
        pass
    finally:
        no_memory.remove_mem_hooks()


async def test_a_stream_is_closed_where_no_memory_is_left() -> None:
    async with Streams() as streams:
        owner = await streams.open()
        without_memory(owner.stream.abort)
        # In a loop that hosts the reactor, scheduling the batch has failed; any event does it.
        other = await streams.open()
        arrive(other, b"x")
        await owner.lost()
