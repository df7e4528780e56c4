"""Snapshots: what a worker tells of what is under way, of what has been, and of itself."""

import json
import time

from tests.helpers.script import head
from tests.helpers.snapshots import CONNECT, GET, OK, ROUTE, Counted


async def test_an_idle_worker_tells_of_itself() -> None:
    told = Counted().told()
    assert (told["in_flight"], told["clients"], told["upstreams"], told["tunnels"]) == (0, 0, 0, {})
    assert told["build"]["loop"] in ("asyncio", "uvloop")
    assert told["is_draining"] is False
    assert abs(told["time"] - time.time()) < 60
    process = told["process"]
    assert process["cpu_seconds"] > 0
    assert process["max_fds"] > process["open_fds"] > 0
    assert process["resident_bytes"] > 1_000_000
    assert "connections" not in told


async def test_what_is_under_way_is_counted_on_both_sides() -> None:
    on = Counted()
    client, upstream = on.world.ask(GET)
    on.world.client()
    assert (on.told()["in_flight"], on.told()["clients"], on.told()["upstreams"]) == (1, 2, 1)
    upstream.arrives(OK)
    told = on.told()
    assert (told["in_flight"], told["upstreams"], told["idle_upstreams"]) == (0, 1, 1)
    on.world.ask(CONNECT)
    told = on.told()
    assert (told["clients"], told["upstreams"], told["tunnels"]) == (3, 2, {"connect": 1})
    client.breaks()
    on.world.run()
    assert on.told()["clients"] == 2


async def test_bytes_of_what_has_not_ended_are_counted_once() -> None:
    on = Counted()
    _, upstream = on.world.ask(GET)
    upstream.arrives(OK[:-1])
    counts = on.told()["counts"]
    assert (counts["received"], counts["sent"]) == (len(GET), len(OK) - 1)
    upstream.arrives(OK[-1:])
    counts = on.told()["counts"]
    assert (counts["received"], counts["sent"]) == (len(GET), len(OK))
    client, upstream = on.world.ask(CONNECT)
    upstream.arrives(b"12345")
    client.arrives(b"123")
    assert on.told()["counts"]["sent"] == len(OK) + 5
    assert on.told()["counts"]["received"] == len(GET) + len(CONNECT) + 3
    client.breaks()
    on.world.run()
    assert on.told()["counts"]["sent"] == len(OK) + 5
    assert on.told()["counts"]["received"] == len(GET) + len(CONNECT) + 3


async def test_each_connection_is_told_with_what_it_does_and_no_secret() -> None:
    on = Counted()
    on.world.client()
    on.world.ask(GET)
    client, upstream = on.world.ask(CONNECT)
    client.arrives(b"123")
    upstream.arrives(b"12345")
    told = on.told(most=100)
    each = {one["state"]: one for one in told["connections"]}
    assert len(told["connections"]) == 3
    assert each["idle"]["client"] == "192.0.2.7"
    request = each["request"]
    assert (request["method"], request["path"], request["port"]) == ("GET", "/a", 80)
    assert (request["status"], request["bytes_in"]) == (None, len(GET))
    tunnel = each["tunnel"]
    assert (tunnel["kind"], tunnel["upstream"]) == ("connect", "127.0.0.1:80")
    assert (tunnel["bytes_in"], tunnel["bytes_out"]) == (len(CONNECT) + 3, 5)
    assert all(abs(one["since"] - time.time()) < 60 for one in told["connections"])
    assert "secret" not in json.dumps(told)


async def test_of_many_connections_the_oldest_tunnels_are_told() -> None:
    on = Counted()
    times = iter([10.0, 30.0, 20.0])
    for port in (1, 2, 3):
        on.observer.clock = lambda: now  # noqa: B023
        now = next(times)
        on.world.ask(CONNECT.replace(b"80", b"%d" % port))
    on.world.client()
    assert [one["port"] for one in on.told(most=2)["connections"]] == [1, 3]
    assert [one["state"] for one in on.told(most=4)["connections"]] == ["tunnel"] * 3 + ["idle"]
    assert "connections" not in on.told(most=0)


async def test_a_tunnel_that_is_open_keeps_its_port_awake() -> None:
    on = Counted()
    _, upstream = on.world.ask(CONNECT)
    on.world.walk(50)
    [[_, _, port]] = on.told()["ports"]
    assert port["last_byte"] == 50
    upstream.arrives(b"1")
    on.world.walk(7)
    [[_, _, port]] = on.told()["ports"]
    assert (port["last_byte"], port["last_request"], port["tunnels"]) == (7, 57, 1)


async def test_the_last_errors_are_told() -> None:
    on = Counted()
    on.world.client().arrives(head("GET / HTTP/1.1", "Host: a"))
    [error] = on.told()["recent"]
    assert (error["status"], error["error"]) == (400, "http_request_error")
    assert abs(error["time"] - time.time()) < 60
    on.world.client().arrives(head("GET / HTTP/1.1", "Host: a", ROUTE))
    assert len(on.told()["recent"]) == 1
