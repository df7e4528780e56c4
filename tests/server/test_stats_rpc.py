"""Snapshots of several processes: what comes over a socket, and who does not answer."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from cmux_proxy.server import stats_rpc
from cmux_proxy.server.stats_rpc import OneWorker, SeveralWorkers, StatsResponder
from tests.helpers.timing import soon


def tell(most: int) -> dict[str, Any]:
    """Return what a worker might tell: far more than a socket holds at once."""
    return {"each": most, "much": "x" * 1_000_000}


class Pairs:
    """Channels of workers, whose other ends are in this process too."""

    def __init__(self, count: int) -> None:
        self._pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(count)]
        for sock in self.asked + self.workers:
            sock.setblocking(False)

    @property
    def asked(self) -> list[socket.socket]:
        """The ends of whoever asks."""
        return [one for one, _ in self._pairs]

    @property
    def workers(self) -> list[socket.socket]:
        """The workers' ends."""
        return [other for _, other in self._pairs]

    def close(self) -> None:
        """Close all."""
        for sock in self.asked + self.workers:
            sock.close()


@contextlib.contextmanager
def channels(count: int) -> Iterator[Pairs]:
    """Have so many channels."""
    pairs = Pairs(count)
    try:
        yield pairs
    finally:
        pairs.close()


async def test_one_worker_tells_by_itself() -> None:
    assert await OneWorker(tell).snapshots(7) == [tell(7)]


async def test_several_tell_over_their_channels() -> None:
    with channels(2) as pairs:
        answering = [StatsResponder(worker, tell) for worker in pairs.workers]
        source = SeveralWorkers(pairs.asked)
        assert await soon(source.snapshots(7)) == [tell(7), tell(7)]
        assert await soon(source.snapshots(0)) == [tell(0), tell(0)]
        for each in answering:
            each.close()


async def test_many_may_ask_at_once() -> None:
    with channels(1) as pairs:
        answering = StatsResponder(pairs.workers[0], lambda most: {"each": most})
        source = SeveralWorkers(pairs.asked)
        asked = [source.snapshots(number) for number in range(100)]
        assert await soon(asyncio.gather(*asked)) == [[{"each": n}] for n in range(100)]
        answering.close()


async def test_who_does_not_answer_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stats_rpc, "_PATIENCE", 0.05)
    with channels(2) as pairs:
        # The first one's queue fills up, the second one's other end is closed.
        pairs.workers[1].close()
        source = SeveralWorkers(pairs.asked)
        assert await soon(source.snapshots(0)) == []
        assert await soon(source.snapshots(0)) == []
        with contextlib.suppress(BlockingIOError):
            while True:
                pairs.asked[0].send(b"0")
        assert await soon(source.snapshots(0)) == []


async def test_who_ends_amid_its_answer_is_left_out_and_its_successor_answers() -> None:
    with channels(1) as pairs:
        [worker] = pairs.workers
        source = SeveralWorkers(pairs.asked)
        asking = asyncio.get_running_loop().create_task(source.snapshots(0))
        got = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().add_reader(worker, got.set_result, None)
        await soon(got)
        asyncio.get_running_loop().remove_reader(worker)
        _, [descriptor], _, _ = socket.recv_fds(worker, 10, 1)
        with socket.socket(fileno=descriptor) as sock:
            sock.send(b'{"each": ')
        assert await soon(asking) == []
        answering = StatsResponder(worker, tell)
        assert await soon(source.snapshots(3)) == [tell(3)]
        answering.close()


async def test_who_asks_and_leaves_is_no_trouble() -> None:
    with channels(1) as pairs:
        answering = StatsResponder(pairs.workers[0], tell)
        for _ in range(3):
            stats_rpc._send_question(pairs.asked[0], 0).close()
        assert await soon(SeveralWorkers(pairs.asked).snapshots(1)) == [tell(1)]
        answering.close()


async def test_a_question_for_which_there_is_no_descriptor_is_not_answered() -> None:
    with channels(1) as pairs:
        answering = StatsResponder(pairs.workers[0], tell)
        pairs.asked[0].send(b"0")
        assert await soon(SeveralWorkers(pairs.asked).snapshots(1)) == [tell(1)]
        answering.close()
