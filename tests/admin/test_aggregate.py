"""Snapshots of several workers are one: what adds up, what is the latest, what follows."""

import copy
import json

from cmux_proxy.admin.aggregate import merged
from tests.helpers.script import head
from tests.helpers.snapshots import CONNECT, GET, OK, Counted


async def test_one_is_itself() -> None:
    on = Counted()
    _, upstream = on.world.ask(GET)
    upstream.arrives(OK)
    told = on.told(most=100)
    one = merged([told])
    assert one["workers"] == 1
    assert one["counts"] == told["counts"]
    assert one["process"] == told["process"]
    [port] = one["ports"]
    assert (port["host"], port["port"], port["count"]) == ("127.0.0.1", 80, 1)
    assert json.loads(json.dumps(one)) == one


async def test_two_add_up_and_neither_is_changed() -> None:
    first, second = Counted(), Counted()
    for on in (first, second):
        _, upstream = on.world.ask(GET)
        upstream.arrives(OK)
    second.world.client().arrives(head("GET / HTTP/1.1", "Host: a"))
    second.world.ask(CONNECT)
    told = [first.told(most=100), second.told(most=100)]
    before = copy.deepcopy(told)
    both = merged(told)
    assert told == before
    assert (both["workers"], both["clients"], both["tunnels"]) == (2, 4, {"connect": 1})
    series = {tuple(key): sum(whole["buckets"]) for *key, whole, _ in both["counts"]["series"]}
    assert series == {
        ("connect", "CONNECT", 200): 1, ("request", "GET", 200): 2, ("request", "GET", 400): 1,
    }  # fmt: skip
    assert both["counts"]["errors"] == [[400, "http_request_error", 1]]
    assert both["counts"]["sent"] == 2 * len(OK)
    assert sum(both["counts"]["connects"]["buckets"]) == 3
    [port] = both["ports"]
    assert (port["count"], port["tunnels"]) == (3, 1)
    assert sum(port["answers"]["buckets"]) == 3
    assert len(both["connections"]) == 4
    assert both["process"]["resident_bytes"] == sum(
        each["process"]["resident_bytes"] for each in told
    )


async def test_the_latest_of_all_workers_counts_and_one_that_drains_does_too() -> None:
    first, second = Counted(), Counted()
    for on in (first, second):
        on.world.ask(GET)
    first.world.walk(100)
    second.world.walk(7)
    second.world.context.is_draining = True
    both = merged([first.told(), second.told()])
    assert both["is_draining"]
    [port] = both["ports"]
    assert 6 < both["time"] - port["last_request"] < 8


async def test_errors_follow_each_other_in_time() -> None:
    told = [Counted().told(), Counted().told()]
    told[0]["recent"] = [{"time": 1.0}, {"time": 3.0}]
    told[1]["recent"] = [{"time": 2.0}]
    assert [each["time"] for each in merged(told)["recent"]] == [1.0, 2.0, 3.0]
