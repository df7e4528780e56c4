"""The JSON of /activity and /connections; that of the dashboard is in test_overview.py."""

import time
from dataclasses import replace

from cmux_proxy.admin.json_views import activity, connections
from tests.helpers.script import head
from tests.helpers.snapshots import CONNECT, GET, OK, ObservedWorker


async def test_without_requests_there_are_no_ports_and_no_times() -> None:
    view = activity(ObservedWorker().stats())
    assert (view["requests"], view["tunnels"], view["ports"]) == (0, 0, [])
    assert view["last_request"] is view["last_byte"] is view["idle_seconds"] is None


async def test_each_port_has_what_is_under_way_and_how_long_it_has_been_idle() -> None:
    worker = ObservedWorker()
    worker.world.ask(head("GET / HTTP/1.1", "Host: ws-1-81.localhost"))
    _, upstream = worker.world.ask(GET)
    upstream.arrives(OK)
    worker.world.walk(30)
    view = activity(worker.stats())
    assert (view["requests"], view["tunnels"], view["draining"]) == (1, 0, False)
    assert 29 < view["idle_seconds"] < 31
    quiet, busy = view["ports"]
    assert (quiet["port"], quiet["requests"], quiet["total_requests"]) == (80, 0, 1)
    assert (quiet["bytes_in"], quiet["bytes_out"]) == (len(GET), len(OK))
    assert (busy["port"], busy["requests"], busy["workspace"]) == (81, 1, "ws-1")
    assert quiet["workspace"] is None
    assert 29 < time.time() - quiet["last_byte"] < 31


async def test_the_latest_byte_of_all_ports_counts_for_the_proxy() -> None:
    worker = ObservedWorker()
    worker.world.ask(GET)
    worker.world.walk(30)
    worker.world.ask(head("GET / HTTP/1.1", "Host: 81.localhost"))
    view = activity(worker.stats())
    assert view["idle_seconds"] < 1
    assert [port["idle_seconds"] > 29 for port in view["ports"]] == [True, False]


async def test_connections_are_listed_the_oldest_first() -> None:
    worker = ObservedWorker()
    worker.world.client()
    worker.world.walk(5)
    worker.world.ask(GET)
    worker.world.walk(5)
    worker.world.ask(CONNECT)
    stats = worker.stats(max_connections=100)
    stats = replace(stats, connections=list(reversed(stats.connections)))
    states = [connection["state"] for connection in connections(stats)["connections"]]
    assert states[0] == "idle"
    assert sorted(states) == ["idle", "request", "tunnel"]
