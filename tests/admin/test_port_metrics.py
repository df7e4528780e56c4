"""Metrics of single ports: which ports have series of their own, and what is in them."""

from typing import Any

from cmux_proxy.admin.aggregate import merged
from cmux_proxy.admin.port_metrics import MAX_PORTS, PortFigures
from tests.admin.test_metrics import read, told_of_much
from tests.helpers.script import head
from tests.helpers.snapshots import CONNECT, OK, ROUTE, Counted

REQUESTS = "cmux_proxy_port_requests_total"


def labels(samples: dict[tuple[str, ...], float]) -> set[str]:
    """Return the ports that have series."""
    return {key[1] for key in samples if key[0] == REQUESTS}


async def entry(port: int, **figures: int) -> dict[str, Any]:
    """Return what a merged snapshot says of a port that has answered."""
    told = await told_of_much()
    return {**told["ports"][0], "port": port, **figures}


async def test_ports_have_series_only_where_they_are_asked_for() -> None:
    told = await told_of_much()
    assert not any("_port_" in name for name, *_ in read(told))
    samples = read(told, PortFigures())
    assert samples[REQUESTS, "127.0.0.1:80"] == 2
    assert samples["cmux_proxy_port_sent_bytes_total", "127.0.0.1:80"] == len(OK)
    assert samples["cmux_proxy_port_tunnels", "127.0.0.1:80"] == 1


async def test_the_hundred_and_first_port_is_one_of_the_others_and_none_changes_places() -> None:
    figures = PortFigures()
    told = await told_of_much()
    told["ports"] = [await entry(number) for number in range(1, MAX_PORTS + 1)]
    assert len(labels(read(told, figures))) == MAX_PORTS
    # One that is busier does not take the place of another.
    told["ports"] += [await entry(1000 + number, count=10_000) for number in range(3)]
    samples = read(told, figures)
    assert samples[REQUESTS, "other"] == 30_000
    assert samples[REQUESTS, "127.0.0.1:1"] == 2
    assert len(labels(samples)) == MAX_PORTS + 1


async def test_ports_that_have_not_answered_take_no_label() -> None:
    on = Counted()
    for port in range(1000, 1000 + 2 * MAX_PORTS):
        on.world.client().arrives(head("GET / HTTP/1.1", "Host: a", ROUTE.replace("80", str(port))))
        on.world.dial().fails()
    figures = PortFigures()
    samples = read(merged([on.told()]), figures)
    assert labels(samples) == {"other"}
    assert samples["cmux_proxy_port_errors_total", "other"] == 2 * MAX_PORTS
    on.world.ask(CONNECT)
    _, upstream = on.world.ask(head("GET / HTTP/1.1", "Host: a", ROUTE.replace("80", "1000")))
    upstream.arrives(OK)
    samples = read(merged([on.told()]), figures)
    # A tunnel is an answer too.
    assert labels(samples) == {"other", "127.0.0.1:80", "127.0.0.1:1000"}
    # What was counted with the others stays there, and none of their counters falls.
    assert samples[REQUESTS, "other"] == 2 * MAX_PORTS
    assert samples[REQUESTS, "127.0.0.1:1000"] == 1
    assert samples["cmux_proxy_port_errors_total", "127.0.0.1:1000"] == 0


async def test_figures_are_the_same_however_often_one_asks() -> None:
    figures = PortFigures()
    told = await told_of_much()
    assert read(told, figures) == read(told, figures)


async def test_no_counter_falls_when_a_worker_forgets_a_port() -> None:
    figures = PortFigures()
    told = await told_of_much()
    for count, shown in ((80, 80), (30, 80), (31, 81), (None, 81), (5, 86)):
        told["ports"] = [] if count is None else [await entry(80, count=count, tunnels=1)]
        samples = read(told, figures)
        assert samples[REQUESTS, "127.0.0.1:80"] == shown
        assert samples["cmux_proxy_port_tunnels", "127.0.0.1:80"] == (count is not None)
