"""Snapshots: what a worker reports of what is under way, of what has been, and of its process."""

import json
import time

import pytest

from tests.helpers.script import head
from tests.helpers.snapshots import CONNECT, GET, OK, ROUTE, ObservedWorker


async def test_an_idle_worker_reports_its_process() -> None:
    stats = ObservedWorker().stats()
    assert (stats.in_flight, stats.clients, stats.upstreams, stats.tunnels) == (0, 0, 0, {})
    assert stats.build.loop in ("asyncio", "uvloop", "native")
    assert stats.is_draining is False
    assert abs(stats.time - time.time()) < 60
    assert stats.process.cpu_seconds > 0
    assert stats.process.max_fds > (stats.process.open_fds or 0) > 0
    assert (stats.process.resident_bytes or 0) > 1_000_000
    assert stats.connections == []


async def test_what_is_under_way_is_counted_on_both_sides() -> None:
    worker = ObservedWorker()
    client, upstream = worker.world.ask(GET)
    worker.world.client()
    stats = worker.stats()
    assert (stats.in_flight, stats.clients, stats.upstreams) == (1, 2, 1)
    upstream.arrives(OK)
    stats = worker.stats()
    assert (stats.in_flight, stats.upstreams, stats.idle_upstreams) == (0, 1, 1)
    worker.world.ask(CONNECT)
    stats = worker.stats()
    assert (stats.clients, stats.upstreams, stats.tunnels) == (3, 2, {"connect": 1})
    client.breaks()
    worker.world.run()
    assert worker.stats().clients == 2


async def test_bytes_of_what_has_not_ended_are_counted_once() -> None:
    worker = ObservedWorker()
    _, upstream = worker.world.ask(GET)
    upstream.arrives(OK[:-1])
    traffic = worker.stats().traffic
    assert (traffic.received, traffic.sent) == (len(GET), len(OK) - 1)
    upstream.arrives(OK[-1:])
    traffic = worker.stats().traffic
    assert (traffic.received, traffic.sent) == (len(GET), len(OK))
    client, upstream = worker.world.ask(CONNECT)
    upstream.arrives(b"12345")
    client.arrives(b"123")
    assert worker.stats().traffic.sent == len(OK) + 5
    assert worker.stats().traffic.received == len(GET) + len(CONNECT) + 3
    client.breaks()
    worker.world.run()
    assert worker.stats().traffic.sent == len(OK) + 5
    assert worker.stats().traffic.received == len(GET) + len(CONNECT) + 3


async def test_each_connection_is_listed_with_what_it_does_and_no_secret() -> None:
    worker = ObservedWorker()
    worker.world.client()
    worker.world.ask(GET)
    client, upstream = worker.world.ask(CONNECT)
    client.arrives(b"123")
    upstream.arrives(b"12345")
    stats = worker.stats(max_connections=100)
    by_state = {connection["state"]: connection for connection in stats.connections}
    assert len(stats.connections) == 3
    assert by_state["idle"]["client"] == "192.0.2.7"
    request = by_state["request"]
    assert (request["method"], request["path"], request["port"]) == ("GET", "/a", 80)
    assert (request["status"], request["bytes_in"]) == (None, len(GET))
    tunnel = by_state["tunnel"]
    assert (tunnel["kind"], tunnel["upstream"]) == ("connect", "127.0.0.1:80")
    assert (tunnel["bytes_in"], tunnel["bytes_out"]) == (len(CONNECT) + 3, 5)
    assert all(abs(connection["since"] - time.time()) < 60 for connection in stats.connections)
    assert "secret" not in json.dumps(stats.to_json())


async def test_as_many_clients_are_counted_as_there_are_connections_in_the_list() -> None:
    worker = ObservedWorker()
    worker.world.client()
    worker.world.ask(GET)
    worker.world.ask(CONNECT)
    # The proxy has responded and has closed its half; what the client still sends is discarded.
    closed = worker.world.client()
    closed.arrives(head("GET / HTTP/1.1", "A: " + "a" * 70000))
    stats = worker.stats(max_connections=100)
    assert stats.clients == len(stats.connections) == 3


async def test_of_many_connections_the_oldest_tunnels_are_listed() -> None:
    worker = ObservedWorker()
    times = iter([10.0, 30.0, 20.0])
    for port in (1, 2, 3):
        worker.observer.clock = lambda: now  # noqa: B023
        now = next(times)
        worker.world.ask(CONNECT.replace(b"80", b"%d" % port))
    worker.world.client()
    listed = worker.stats(max_connections=2).connections
    assert [connection["port"] for connection in listed] == [1, 3]
    listed = worker.stats(max_connections=4).connections
    assert [connection["state"] for connection in listed] == ["tunnel"] * 3 + ["idle"]
    assert worker.stats(max_connections=0).connections == []


async def test_an_open_tunnel_counts_as_activity_of_its_port() -> None:
    worker = ObservedWorker()
    _, upstream = worker.world.ask(CONNECT)
    worker.world.walk(50)
    stats = worker.stats()
    [port] = stats.ports.values()
    assert stats.time - port.last_byte == pytest.approx(50)
    upstream.arrives(b"1")
    worker.world.walk(7)
    stats = worker.stats()
    [port] = stats.ports.values()
    assert stats.time - port.last_byte == pytest.approx(7)
    assert stats.time - port.last_request == pytest.approx(57)
    assert port.tunnels == 1


async def test_the_last_errors_are_listed() -> None:
    worker = ObservedWorker()
    worker.world.client().arrives(head("GET / HTTP/1.1", "Host: a"))
    [error] = worker.stats().recent
    assert (error["status"], error["error"]) == (400, "http_request_error")
    assert abs(error["time"] - time.time()) < 60
    worker.world.client().arrives(head("GET / HTTP/1.1", "Host: a", ROUTE))
    assert len(worker.stats().recent) == 1
