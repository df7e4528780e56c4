"""Random interleavings: a native stream does what asyncio's transport does, its model.

Both play the same script, each in its loop: what the owner is called with, in which order, and what
the peer gets, has to be equal. Calls about reading and about writing are compared separately: one
event may be the cause of both, and then their order means nothing.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("cmux_proxy.net._reactor")

from cmux_proxy.net.backends import make_backend
from cmux_proxy.net.stream import FirstOwner
from tests.helpers.loops import FACTORIES
from tests.helpers.native import (
    HOSTINGS,
    Recorder,
    arrive,
    arrive_end,
    arrive_reset,
    turns,
)
from tests.helpers.sockets import pair
from tests.helpers.timing import soon
from tests.helpers.wire import Wire

__all__ = ["HOSTINGS"]

Open = Callable[[asyncio.AbstractEventLoop, socket.socket, FirstOwner], Awaitable[None]]
Step = tuple[str, int]

SMALL: Final = 100
# More than a Unix socket holds.
LARGE: Final = 400_000
# The highest limit of the queue, and one that each byte is above.
LIMITS: Final = (0, 50_000)

_COMMON: Final = ("write", "writelines", "send", "turns")
_RARE: Final = ("write_eof", "pause", "resume", "end", "close", "abort", "read")


@dataclass
class Play:
    """What happened in one play."""

    reading: list[str] = field(default_factory=list)
    writing: list[str] = field(default_factory=list)
    states: list[tuple[str, bool, bool]] = field(default_factory=list)
    received: bytes = b""
    sent: bytes = b""
    error: str = ""
    peer_end: str = ""


class Player(Recorder):
    """The owner in a play; reads what is unread when its connection is lost by an error."""

    def __init__(self, stays_open: bool, is_model: bool) -> None:
        super().__init__(stays_open)
        self.is_model = is_model
        self.peer_calls: list[str] = []

    def connection_lost(self, error: Exception | None, /) -> None:
        if isinstance(error, OSError):
            with contextlib.suppress(OSError):
                while rest := os.read(self.fd, 65536):
                    self.received += rest
        super().connection_lost(error)


def steps(rare: tuple[str, ...], sizes: tuple[int, ...]) -> st.SearchStrategy[list[Step]]:
    name = st.sampled_from(_COMMON * 3 + rare)
    return st.lists(st.tuples(name, st.sampled_from(sizes)), max_size=14)


def act(owner: Player, name: str, size: int, data: bytes) -> None:
    """Do one step of a script that needs no turn of the loop."""
    stream = owner.stream
    match name:
        case "write":
            stream.write(data[:size])
        case "writelines" if owner.is_model:
            # That of asyncio raises errors of its own once a transport is closed (Python 3.12).
            stream.write(data[:size])
        case "writelines":
            stream.writelines([data[: size // 3], memoryview(data)[size // 3 : size]])
        case "write_eof" | "close" | "abort":
            getattr(stream, name)()
        case "pause":
            stream.pause_reading()
        case "resume":
            stream.resume_reading()
        case "send" if "end" not in owner.peer_calls:
            arrive(owner, data[: min(size, 5000)])
        case "end" if "end" not in owner.peer_calls:
            owner.peer_calls.append("end")
            arrive_end(owner)
        case "reset":
            owner.peer_calls += ["end", "reset"]
            arrive_reset(owner)


async def drain(owner: Player, play: Play) -> None:
    """Let the peer read until nothing is left."""
    while True:
        piece = owner.wire.take_arrived()
        play.sent += piece
        await turns(2)
        if not piece and (owner.is_lost or not owner.stream.get_write_buffer_size()):
            return


async def read_to_end(owner: Player, play: Play) -> None:
    """Let the peer read to the end of the connection."""
    try:
        while piece := await soon(owner.wire.receive()):
            play.sent += piece
        play.peer_end = "end"
    except OSError:
        play.peer_end = "reset"


async def perform(open_stream: Open, family: int, script: list[Step], stays_open: bool,
                  limit: int) -> Play:  # fmt: skip
    """Play a script with a stream of that kind."""
    loop = asyncio.get_running_loop()
    play, owner = Play(), Player(stays_open, open_stream is open_asyncio)
    with pair(family) as (peer, ours):
        owner.wire, owner.fd = Wire(peer), ours.fileno()
        await open_stream(loop, ours, owner)
        owner.stream.set_write_buffer_limits(high=limit, low=0)
        for number, (name, size) in enumerate(script):
            await perform_step(owner, play, name, size, bytes([number]) * size)
        await finish(owner, play)
    names = [call for call in owner.calls if call not in ("pause_writing", "resume_writing")]
    # How many reads there were says nothing.
    play.reading = [name for i, name in enumerate(names) if names[i - 1 : i] != [name]]
    play.writing = [call for call in owner.calls if call.endswith("_writing")]
    play.received = bytes(owner.received)
    play.error = describe(owner.error)
    return play


async def perform_step(owner: Player, play: Play, name: str, size: int, data: bytes) -> None:
    result = "done"
    if name == "turns":
        await turns(6)
    elif name == "read":
        await drain(owner, play)
    elif not (owner.is_lost or "reset" in owner.peer_calls):
        try:
            act(owner, name, size, data)
        except (RuntimeError, OSError) as error:
            result = describe(error)
    stream = owner.stream
    play.states.append((result, stream.is_closing(), stream.get_write_buffer_size() > 0))


async def finish(owner: Player, play: Play) -> None:
    """Close the stream, and wait until both ends are gone."""
    if not owner.is_lost:
        owner.stream.resume_reading()
        await turns(6)
        owner.stream.close()
    if "reset" not in owner.peer_calls:
        await read_to_end(owner, play)
    await owner.lost()
    await turns()


def describe(error: BaseException | None) -> str:
    """Return the kind of an error; which call is the first to see a reset is chance."""
    if isinstance(error, (ConnectionResetError, BrokenPipeError)):
        return "reset"
    return "" if error is None else type(error).__name__


async def open_asyncio(
    loop: asyncio.AbstractEventLoop, sock: socket.socket, owner: FirstOwner
) -> None:
    sock.setblocking(False)
    await loop.create_connection(lambda: cast(asyncio.Protocol, owner), sock=sock)


async def open_native(
    loop: asyncio.AbstractEventLoop, sock: socket.socket, owner: FirstOwner
) -> None:
    backend = make_backend(loop, True)
    await backend.open_stream(sock, owner)
    cast(Recorder, owner).on["connection_lost"] = lambda: loop.call_soon(backend.close)


def compare(
    loop_name: str, family: int, script: list[Step], stays_open: bool, limit: int
) -> tuple[Play, Play]:
    """Play a script on both; return the model's play and the native one."""
    plays = []
    for name, opener in (("asyncio", open_asyncio), (loop_name, open_native)):
        with asyncio.Runner(loop_factory=FACTORIES[name]) as runner:
            plays.append(runner.run(perform(opener, family, script, stays_open, limit)))
    return plays[0], plays[1]


@given(st.data(), st.booleans(), st.sampled_from(LIMITS))
def test_a_native_stream_on_a_unix_socket_does_what_its_model_does(
    loop_name: str, data: st.DataObject, stays_open: bool, limit: int
) -> None:
    script = data.draw(steps(_RARE, (SMALL, LARGE)))
    model, native = compare(loop_name, socket.AF_UNIX, script, stays_open, limit)
    assert native == model


@given(st.data(), st.booleans())
def test_a_native_stream_on_tcp_does_what_its_model_does(
    loop_name: str, data: st.DataObject, stays_open: bool
) -> None:
    # So few bytes that the kernel always takes them.
    script = data.draw(steps((*_RARE[:-1], "reset"), (1, SMALL)))
    model, native = compare(loop_name, socket.AF_INET, script, stays_open, 0)
    if "reset" in (model.peer_end, native.peer_end):
        # Which bytes a reset overtakes is chance.
        model.sent = native.sent = b""
    assert native == model
