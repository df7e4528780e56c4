"""Metrics of single ports: which ports have series of their own, and what is in them."""

from cmux_proxy.admin.port_metrics import MOST_PORTS, PortLabels
from tests.admin.test_metrics import read, told_of_much
from tests.helpers.snapshots import OK


async def test_ports_have_series_only_where_they_are_asked_for() -> None:
    told = await told_of_much()
    assert not any("_port_" in name for name, *_ in read(told))
    samples = read(told, PortLabels())
    assert samples["cmux_proxy_port_requests_total", "127.0.0.1:80"] == 2
    assert samples["cmux_proxy_port_errors_total", "127.0.0.1:81"] == 1
    assert samples["cmux_proxy_port_sent_bytes_total", "127.0.0.1:80"] == len(OK)
    assert samples["cmux_proxy_port_tunnels", "127.0.0.1:80"] == 1


async def test_the_hundred_and_first_port_is_one_of_the_others_and_none_changes_places() -> None:
    labels = PortLabels()
    told = await told_of_much()
    [port, *_] = told["ports"]
    told["ports"] = [{**port, "port": number} for number in range(1, MOST_PORTS + 1)]
    assert len({key for key in read(told, labels) if key[0].endswith("port_tunnels")}) == MOST_PORTS
    # One that is busier does not take the place of another.
    told["ports"] += [{**port, "port": 1000 + number, "count": 10_000} for number in range(3)]
    samples = read(told, labels)
    assert samples["cmux_proxy_port_requests_total", "other"] == 30_000
    assert samples["cmux_proxy_port_requests_total", "127.0.0.1:1"] == port["count"]
    assert len({key for key in samples if key[0].endswith("port_tunnels")}) == MOST_PORTS + 1
