"""What the lists of the admin listener say; the dashboard's is in test_overview.py."""

import time

from cmux_proxy.admin.aggregate import merged
from cmux_proxy.admin.json_views import activity, connections
from tests.helpers.script import head
from tests.helpers.snapshots import CONNECT, GET, OK, Counted


async def test_where_nothing_was_nothing_is_told() -> None:
    told = activity(merged([Counted().told()]))
    assert (told["requests"], told["tunnels"], told["ports"]) == (0, 0, [])
    assert told["last_request"] is told["last_byte"] is told["idle_seconds"] is None


async def test_each_port_has_what_is_under_way_and_how_long_it_has_been_quiet() -> None:
    on = Counted()
    _, upstream = on.world.ask(GET)
    upstream.arrives(OK)
    on.world.ask(head("GET / HTTP/1.1", "Host: ws-1-81.localhost"))
    on.world.walk(30)
    told = activity(merged([on.told()]))
    assert (told["requests"], told["tunnels"], told["draining"]) == (1, 0, False)
    assert 29 < told["idle_seconds"] < 31
    quiet, busy = told["ports"]
    assert (quiet["port"], quiet["requests"], quiet["total_requests"]) == (80, 0, 1)
    assert (quiet["bytes_in"], quiet["bytes_out"]) == (len(GET), len(OK))
    assert (busy["port"], busy["requests"], busy["workspace"]) == (81, 1, "ws-1")
    assert quiet["workspace"] is None
    assert 29 < time.time() - quiet["last_byte"] < 31


async def test_the_busiest_port_makes_the_whole_busy() -> None:
    on = Counted()
    on.world.ask(GET)
    on.world.walk(30)
    on.world.ask(head("GET / HTTP/1.1", "Host: 81.localhost"))
    told = activity(merged([on.told()]))
    assert told["idle_seconds"] < 1
    assert [port["idle_seconds"] > 29 for port in told["ports"]] == [True, False]


async def test_connections_are_told_the_oldest_first() -> None:
    on = Counted()
    on.world.client()
    on.world.walk(5)
    on.world.ask(GET)
    on.world.walk(5)
    on.world.ask(CONNECT)
    told = merged([on.told(most=100)])
    told["connections"].reverse()
    states = [one["state"] for one in connections(told)["connections"]]
    assert states[0] == "idle"
    assert sorted(states) == ["idle", "request", "tunnel"]
