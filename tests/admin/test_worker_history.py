"""What workers have counted stays counted when they do not respond."""

import copy
from dataclasses import replace

from cmux_proxy.admin.worker_history import MAX_ABSENT, WorkerHistory
from cmux_proxy.observe.worker_stats import WorkerStats, total_of
from tests.helpers.snapshots import CONNECT, GET, OK, ObservedWorker


def worker(pid: int, requests: int = 1) -> WorkerStats:
    """Return the statistics of a worker after some requests, with an open tunnel."""
    observed = ObservedWorker()
    client, upstream = observed.world.ask(GET)
    upstream.arrives(OK)
    for _ in range(requests - 1):
        client.arrives(GET)
        upstream.arrives(OK)
    observed.world.ask(CONNECT)
    return replace(observed.stats(max_connections=100), pid=pid)


def requests_in(stats: WorkerStats) -> int:
    """Return how many requests were counted, without those for tunnels."""
    [series] = [series for key, series in stats.traffic.series.items() if key.kind == "request"]
    return series.durations.count()


async def test_a_worker_that_does_not_respond_keeps_its_counters_and_has_nothing_under_way() -> (
    None
):
    history = WorkerHistory()
    both = [worker(1, 2), worker(2, 3)]
    before = copy.deepcopy(both)
    assert history.complete(both) == both
    after = total_of(history.complete([both[0]]))
    assert requests_in(after) == 5
    cpu_seconds = sum(stats.process.cpu_seconds for stats in both)
    assert after.process.cpu_seconds == cpu_seconds
    alone = both[0]
    for name in ("workers", "clients", "upstreams", "in_flight", "tunnels", "connections"):
        assert getattr(after, name) == getattr(alone, name)
    for name in ("resident_bytes", "open_fds"):
        assert getattr(after.process, name) == getattr(alone.process, name)
    [port] = after.ports.values()
    assert (port.tunnels, port.count) == (1, 7)
    assert both == before


async def test_the_list_of_connections_is_not_kept() -> None:
    history = WorkerHistory()
    [present] = history.complete([worker(1)])
    assert present.connections
    history.complete([worker(2)])
    [_, absent] = history.complete([worker(2)])
    assert absent.pid == 1
    assert not absent.connections


async def test_a_worker_that_responds_again_counts_once() -> None:
    history = WorkerHistory()
    history.complete([worker(1, 1), worker(2, 1)])
    history.complete([worker(1, 1)])
    assert requests_in(total_of(history.complete([worker(1, 1), worker(2, 4)]))) == 5


async def test_a_worker_that_drained_does_not_make_the_others_drain() -> None:
    history = WorkerHistory()
    history.complete([worker(1), replace(worker(2), is_draining=True)])
    assert not total_of(history.complete([worker(1)])).is_draining


async def test_successors_that_die_too_are_remembered_up_to_a_maximum() -> None:
    history = WorkerHistory()
    for pid in range(MAX_ABSENT + 3):
        workers = history.complete([worker(pid)])
        assert requests_in(total_of(workers)) == min(pid, MAX_ABSENT) + 1
