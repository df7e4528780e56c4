"""Statistics of workers in other processes: requests over channels, and workers that fail."""

import asyncio
import contextlib
import json
import socket
from collections.abc import Callable, Iterator

from cmux_proxy.observe.worker_stats import WorkerStats
from cmux_proxy.server.stats_rpc import (
    LocalStats,
    StatsChannels,
    StatsClient,
    StatsResponder,
    send_request,
)
from tests.helpers.children import in_a_process, status_of
from tests.helpers.snapshots import worker_stats
from tests.helpers.timing import SOON, soon


def large_stats(max_connections: int) -> WorkerStats:
    """Return statistics that are far larger than what a socket holds at once."""
    return worker_stats(in_flight=max_connections, outcomes={"x" * 1_000_000: 1})


def small_stats(max_connections: int) -> WorkerStats:
    """Return statistics that say what was requested."""
    return worker_stats(in_flight=max_connections)


class ChannelPairs:
    """Channels of workers, with both ends in this process."""

    def __init__(self, count: int) -> None:
        self._pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(count)]
        for sock in self.admin + self.workers:
            sock.setblocking(False)

    @property
    def admin(self) -> list[socket.socket]:
        """The ends of the admin process."""
        return [admin for admin, _ in self._pairs]

    @property
    def workers(self) -> list[socket.socket]:
        """The workers' ends."""
        return [worker for _, worker in self._pairs]

    def close(self) -> None:
        """Close all."""
        for sock in self.admin + self.workers:
            sock.close()


@contextlib.contextmanager
def channel_pairs(count: int) -> Iterator[ChannelPairs]:
    """Open `count` channels."""
    pairs = ChannelPairs(count)
    try:
        yield pairs
    finally:
        pairs.close()


async def test_the_only_worker_needs_no_channel() -> None:
    assert await LocalStats(small_stats).workers(7) == [small_stats(7)]


async def test_several_workers_respond_over_their_channels() -> None:
    with channel_pairs(2) as pairs:
        responders = [StatsResponder(worker, large_stats) for worker in pairs.workers]
        client = StatsClient(pairs.admin)
        assert await soon(client.workers(7)) == [large_stats(7)] * 2
        assert await soon(client.workers(0)) == [large_stats(0)] * 2
        for responder in responders:
            responder.close()


async def test_many_requests_may_be_under_way_at_once() -> None:
    with channel_pairs(1) as pairs:
        responder = StatsResponder(pairs.workers[0], small_stats)
        client = StatsClient(pairs.admin)
        requests = [client.workers(number) for number in range(100)]
        assert await soon(asyncio.gather(*requests)) == [[small_stats(n)] for n in range(100)]
        responder.close()


def take_requests(worker: socket.socket) -> list[tuple[int, socket.socket]]:
    """Return the requests that wait at a worker's end, with the sockets for the responses."""
    requests = []
    with contextlib.suppress(BlockingIOError):
        while True:
            request, [descriptor], _, _ = socket.recv_fds(worker, 10, 1)
            requests.append((int(request), socket.socket(fileno=descriptor)))
    return requests


async def test_of_many_requests_eight_at_a_time_are_sent() -> None:
    with channel_pairs(2) as pairs:
        client = StatsClient(pairs.admin[:1], timeout=SOON)
        other = StatsClient(pairs.admin[1:], timeout=SOON)
        responder = StatsResponder(pairs.workers[1], small_stats)
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(client.workers(number)) for number in range(20)]
        for batch in (range(8), range(8, 16), range(16, 20)):
            # The client has sent what it sends without a response, because it began before this.
            assert await soon(other.workers(0)) == [small_stats(0)]
            requests = take_requests(pairs.workers[0])
            for number, sock in requests:
                with sock:
                    sock.sendall(json.dumps(small_stats(number).to_json()).encode())
            assert [number for number, _ in requests] == list(batch)
            responses = await soon(asyncio.gather(*(tasks[number] for number in batch)))
            assert responses == [[small_stats(number)] for number in batch]
        responder.close()


async def test_a_worker_that_does_not_respond_is_left_out() -> None:
    with channel_pairs(2) as pairs:
        # The queue of the first fills up, the end of the second is closed.
        pairs.workers[1].close()
        client = StatsClient(pairs.admin, timeout=0.05)
        assert await soon(client.workers(0)) == []
        assert await soon(client.workers(0)) == []
        with contextlib.suppress(BlockingIOError):
            while True:
                pairs.admin[0].send(b"0")
        assert await soon(client.workers(0)) == []


async def test_a_worker_that_ends_during_its_response_is_left_out_and_its_successor_responds() -> (
    None
):
    with channel_pairs(1) as pairs:
        [worker] = pairs.workers
        client = StatsClient(pairs.admin)
        loop = asyncio.get_running_loop()
        request = loop.create_task(client.workers(0))
        is_readable = loop.create_future()
        loop.add_reader(worker, is_readable.set_result, None)
        await soon(is_readable)
        loop.remove_reader(worker)
        _, [descriptor], _, _ = socket.recv_fds(worker, 10, 1)
        with socket.socket(fileno=descriptor) as sock:
            sock.send(b'{"pid": ')
        assert await soon(request) == []
        responder = StatsResponder(worker, large_stats)
        assert await soon(client.workers(3)) == [large_stats(3)]
        responder.close()


async def test_a_client_that_leaves_does_not_disturb_others() -> None:
    with channel_pairs(1) as pairs:
        responder = StatsResponder(pairs.workers[0], large_stats)
        for _ in range(3):
            send_request(pairs.admin[0], 0).close()
        assert await soon(StatsClient(pairs.admin).workers(1)) == [large_stats(1)]
        responder.close()


async def test_a_request_without_a_descriptor_gets_no_response() -> None:
    with channel_pairs(1) as pairs:
        responder = StatsResponder(pairs.workers[0], large_stats)
        pairs.admin[0].send(b"0")
        assert await soon(StatsClient(pairs.admin).workers(1)) == [large_stats(1)]
        responder.close()


def test_each_worker_receives_what_is_sent_to_its_end() -> None:
    channels = StatsChannels(2)

    def receives(number: int) -> Callable[[], bool]:
        def work() -> bool:
            own = channels.take_worker(number)
            own.setblocking(True)
            return own.recv(10) == b"for %d" % number

        return work

    workers = [in_a_process(receives(number)) for number in (1, 2)]
    for number, end in enumerate(channels.take_admin(), start=1):
        end.send(b"for %d" % number)
        end.close()
    assert [status_of(pid) for pid in workers] == [0, 0]


def test_the_successor_of_a_dead_worker_receives_what_was_sent_meanwhile() -> None:
    channels = StatsChannels(1)
    assert status_of(in_a_process(lambda: channels.take_worker(1).fileno() > 0)) == 0

    def sends() -> bool:
        [end] = channels.take_admin()
        return end.send(b"hello") == 5

    assert status_of(in_a_process(sends)) == 0
    assert status_of(in_a_process(lambda: channels.take_worker(1).recv(10) == b"hello")) == 0
    channels.close()


def test_a_request_to_a_worker_that_has_ended_fails_once_the_supervisor_has_closed() -> None:
    channels = StatsChannels(2)
    to_worker, from_worker = socket.socketpair()
    to_admin, from_admin = socket.socketpair()

    def works() -> bool:
        to_worker.close()
        own = channels.take_worker(2)
        from_worker.send(b"taken")
        return from_worker.recv(1) == b"" and own.fileno() > 0

    def requests() -> bool:
        # Only the supervisor may hold this end, which it closes when the worker is to end.
        to_worker.close()
        first, second = channels.take_admin()
        from_admin.send(b"taken")
        from_admin.recv(1)
        is_only_first_refused = is_refused(first) and not is_refused(second)
        from_admin.send(b"tried")
        from_admin.recv(1)
        return is_only_first_refused and is_refused(second)

    worker, admin = in_a_process(works), in_a_process(requests)
    from_worker.close()
    assert to_worker.recv(5) == to_admin.recv(5) == b"taken"
    channels.close()
    to_admin.send(b".")
    assert to_admin.recv(5) == b"tried"
    to_worker.close()
    assert status_of(worker) == 0
    to_admin.send(b".")
    assert status_of(admin) == 0
    for sock in (to_admin, from_admin):
        sock.close()


def is_refused(end: socket.socket) -> bool:
    try:
        end.send(b"?")
    except ConnectionRefusedError:
        return True
    return False


def test_a_full_channel_does_not_block_the_sender() -> None:
    channels = StatsChannels(1)

    def fills() -> bool:
        [end] = channels.take_admin()
        with contextlib.suppress(BlockingIOError):
            while True:
                end.send(b"?")
        return True

    assert status_of(in_a_process(fills)) == 0
    worker = channels.take_worker(1)
    assert worker.recv(10) == b"?"
    worker.close()
