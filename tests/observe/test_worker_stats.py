"""WorkerStats: what adds up, what is the latest, what is listed, and the trip through JSON."""

import copy
import json
from dataclasses import replace

import pytest

from cmux_proxy.observe.port_activity import PortActivity
from cmux_proxy.observe.record import REQUEST, Record
from cmux_proxy.observe.record_fields import ErrorFields, record_fields
from cmux_proxy.observe.worker_stats import PortStats, ProcessStats, WorkerStats, total_of
from tests.helpers.script import head
from tests.helpers.snapshots import (
    CONNECT,
    GET,
    NOW,
    OK,
    ObservedWorker,
    port_stats,
    worker_stats,
)  # fmt: skip


def error(time: float) -> ErrorFields:
    return {**record_fields(Record(REQUEST, "", 0.0)), "time": time}


async def test_the_sum_of_one_worker_is_itself() -> None:
    worker = ObservedWorker()
    _, upstream = worker.world.ask(GET)
    upstream.arrives(OK)
    stats = worker.stats(max_connections=100)
    assert total_of([stats]) == stats
    [(target, port)] = stats.ports.items()
    assert (target, port.count) == (("127.0.0.1", 80), 1)


async def test_a_round_trip_through_json_changes_nothing() -> None:
    worker = ObservedWorker()
    _, upstream = worker.world.ask(GET)
    upstream.arrives(OK)
    worker.world.client().arrives(head("GET / HTTP/1.1", "Host: a"))
    worker.world.ask(CONNECT)
    stats = replace(worker.stats(max_connections=100), lost_lines={"queue_full": 1})
    assert stats.recent
    assert stats.connections
    assert WorkerStats.from_json(json.loads(json.dumps(stats.to_json()))) == stats


async def test_two_add_up_and_neither_is_changed() -> None:
    first, second = ObservedWorker(), ObservedWorker()
    for worker in (first, second):
        _, upstream = worker.world.ask(GET)
        upstream.arrives(OK)
    second.world.client().arrives(head("GET / HTTP/1.1", "Host: a"))
    second.world.ask(CONNECT)
    workers = [first.stats(max_connections=100), second.stats(max_connections=100)]
    before = copy.deepcopy(workers)
    both = total_of(workers)
    assert workers == before
    assert (both.workers, both.clients, both.tunnels) == (2, 4, {"connect": 1})
    series = {key: series.durations.count() for key, series in both.traffic.series.items()}
    assert series == {
        ("connect", "CONNECT", 200): 1, ("request", "GET", 200): 2, ("request", "GET", 400): 1,
    }  # fmt: skip
    assert both.traffic.errors == {(400, "http_request_error"): 1}
    assert both.traffic.sent == 2 * len(OK)
    assert both.traffic.connects.count() == 3
    [port] = both.ports.values()
    assert (port.count, port.tunnels) == (3, 1)
    assert port.durations.count() == 3
    assert len(both.connections) == 4
    resident = [stats.process.resident_bytes or 0 for stats in workers]
    assert both.process.resident_bytes == sum(resident)


async def test_the_latest_activity_of_all_workers_counts_and_one_that_drains_does_too() -> None:
    first, second = ObservedWorker(), ObservedWorker()
    for worker in (first, second):
        worker.world.ask(GET)
    first.world.walk(100)
    second.world.walk(7)
    second.world.services.registry.is_draining = True
    both = total_of([first.stats(), second.stats()])
    assert both.is_draining
    [port] = both.ports.values()
    assert 6 < both.time - port.last_request < 8


def test_errors_are_in_the_order_of_their_times() -> None:
    workers = [
        worker_stats(recent=[error(1.0), error(3.0)]),
        worker_stats(recent=[error(2.0)]),
    ]
    assert [entry["time"] for entry in total_of(workers).recent] == [1.0, 2.0, 3.0]


def test_ports_add_up_by_host_and_port_and_keep_their_workspace() -> None:
    first = worker_stats(ports={("h", 1): port_stats(), ("h", 2): port_stats()})
    second = worker_stats(ports={("h", 1): port_stats(workspace="w", last_byte=NOW, tunnels=2)})
    both = total_of([first, second])
    assert both.ports["h", 2] == port_stats()
    port = both.ports["h", 1]
    assert (port.workspace, port.requests, port.tunnels, port.count) == ("w", 2, 2, 6)
    assert (port.errors, port.received, port.sent) == (2, 20, 40)
    assert (port.last_request, port.last_byte) == (NOW - 1, NOW)
    assert port.durations.count() == 4


def test_a_port_has_its_times_in_seconds_since_1970() -> None:
    port = PortActivity()
    port.began(11.0)
    port.tunnels += 1
    port.tunnel_ended(1, 2, 20.0)
    stats = PortStats.of(port, clock_offset=NOW)
    assert (stats.last_request, stats.last_byte) == (NOW + 11, NOW + 20)
    assert (stats.requests, stats.tunnels, stats.count) == (1, 0, 1)
    assert (stats.received, stats.sent) == (1, 2)


@pytest.mark.parametrize(
    ("first", "second", "total"), [(None, None, None), (1, None, 1), (None, 2, 2), (1, 2, 3)]
)
def test_what_is_unknown_of_one_process_is_left_out_of_the_sum(
    first: int | None, second: int | None, total: int | None
) -> None:
    both = ProcessStats(1.0, 10.0, 64, first, first) + ProcessStats(2.0, 5.0, 256, second, second)
    assert both == ProcessStats(3.0, 5.0, 64, total, total)


def test_without_gauges_only_counters_stay() -> None:
    stats = worker_stats(
        is_draining=True, in_flight=1, clients=2, upstreams=3, idle_upstreams=4,
        tunnels={"connect": 1}, outcomes={"complete": 5}, lost_lines={"queue_full": 6},
        ports={("h", 1): port_stats(tunnels=1)}, process=ProcessStats(1.0, NOW, 64, 7, 8),
        recent=[error(1.0)], connections=[{"state": "idle", "since": NOW, "client": None}],
    )  # fmt: skip
    assert stats.without_gauges() == worker_stats(
        outcomes={"complete": 5}, lost_lines={"queue_full": 6},
        ports={("h", 1): port_stats(requests=0)}, process=ProcessStats(1.0, NOW, 64),
        recent=[error(1.0)], workers=0,
    )  # fmt: skip
