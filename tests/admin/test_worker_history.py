"""What workers have counted stays counted when they do not answer."""

import copy
from typing import Any

from cmux_proxy.admin import worker_history
from cmux_proxy.admin.aggregate import merged
from cmux_proxy.admin.worker_history import WorkerHistory
from tests.helpers.snapshots import CONNECT, GET, OK, Counted


def worker(pid: int, requests: int = 1) -> dict[str, Any]:
    """Return the snapshot of one with so many requests behind it, and an open tunnel."""
    on = Counted()
    client, upstream = on.world.ask(GET)
    upstream.arrives(OK)
    for _ in range(requests - 1):
        client.arrives(GET)
        upstream.arrives(OK)
    on.world.ask(CONNECT)
    return {**on.told(most=100), "pid": pid}


def requests_in(told: dict[str, Any]) -> int:
    """Return how many requests a merged snapshot has, without those for tunnels."""
    [(*_, durations, _)] = [each for each in told["counts"]["series"] if each[0] == "request"]
    return sum(durations["buckets"])


async def test_who_does_not_answer_keeps_what_it_has_counted_and_has_nothing_under_way() -> None:
    told = WorkerHistory()
    both = [worker(1, 2), worker(2, 3)]
    before = copy.deepcopy(both)
    assert told.complete(both) == both
    after = merged(told.complete([both[0]]))
    assert requests_in(after) == 5
    assert after["process"]["cpu_seconds"] == sum(each["process"]["cpu_seconds"] for each in both)
    alone = merged([both[0]])
    for name in ("workers", "clients", "upstreams", "in_flight", "tunnels", "connections"):
        assert after[name] == alone[name]
    for name in ("resident_bytes", "open_fds"):
        assert after["process"].get(name) == alone["process"].get(name)
    assert (after["ports"][0]["tunnels"], after["ports"][0]["count"]) == (1, 7)
    assert both == before


async def test_who_is_connected_is_not_kept() -> None:
    told = WorkerHistory()
    [shown] = told.complete([worker(1)])
    assert shown["connections"]
    assert told._present[1]["connections"] == []


async def test_who_answers_again_counts_once() -> None:
    told = WorkerHistory()
    told.complete([worker(1, 1), worker(2, 1)])
    told.complete([worker(1, 1)])
    assert requests_in(merged(told.complete([worker(1, 1), worker(2, 4)]))) == 5


async def test_who_drained_does_not_make_the_others_drain() -> None:
    told = WorkerHistory()
    draining = {**worker(2), "is_draining": True}
    told.complete([worker(1), draining])
    assert not merged(told.complete([worker(1)]))["is_draining"]


async def test_successors_that_die_too_are_remembered_up_to_a_number() -> None:
    told = WorkerHistory()
    for pid in range(worker_history.MOST_ABSENT + 3):
        several = told.complete([worker(pid)])
        assert requests_in(merged(several)) == min(pid, worker_history.MOST_ABSENT) + 1
