"""Metrics of single ports: which ports have series of their own, and their values."""

from dataclasses import replace

from cmux_proxy.admin.port_metrics import MAX_LABELS, PortTotals
from cmux_proxy.observe.worker_stats import PortStats
from tests.admin.test_metrics import read, varied_stats
from tests.helpers.script import head
from tests.helpers.snapshots import CONNECT, OK, ROUTE, ObservedWorker

REQUESTS = "cmux_proxy_port_requests_total"


def labels(samples: dict[tuple[str, ...], float]) -> set[str]:
    """Return the ports that have series."""
    return {key[1] for key in samples if key[0] == REQUESTS}


async def responded(**values: int) -> PortStats:
    """Return the activity of a port that has responded, with some values replaced."""
    stats = await varied_stats()
    return replace(stats.ports["127.0.0.1", 80], **values)  # type: ignore[arg-type]


async def test_ports_have_series_only_where_they_are_configured() -> None:
    stats = await varied_stats()
    assert not any("_port_" in name for name, *_ in read(stats))
    samples = read(stats, PortTotals())
    assert samples[REQUESTS, "127.0.0.1:80"] == 2
    assert samples["cmux_proxy_port_sent_bytes_total", "127.0.0.1:80"] == len(OK)
    assert samples["cmux_proxy_port_tunnels", "127.0.0.1:80"] == 1


async def test_the_hundred_and_first_port_is_one_of_the_others_and_no_label_changes() -> None:
    totals = PortTotals()
    port, busier = await responded(), await responded(count=10_000)
    ports = {("127.0.0.1", number): port for number in range(1, MAX_LABELS + 1)}
    stats = replace(await varied_stats(), ports=ports)
    assert len(labels(read(stats, totals))) == MAX_LABELS
    # Busier ports do not take a label from another.
    ports |= {("127.0.0.1", number): busier for number in range(1000, 1003)}
    samples = read(replace(stats, ports=ports), totals)
    assert samples[REQUESTS, "other"] == 30_000
    assert samples[REQUESTS, "127.0.0.1:1"] == 2
    assert len(labels(samples)) == MAX_LABELS + 1


async def test_ports_that_have_not_responded_take_no_label() -> None:
    worker = ObservedWorker()
    for port in range(1000, 1000 + 2 * MAX_LABELS):
        worker.world.client().arrives(
            head("GET / HTTP/1.1", "Host: a", ROUTE.replace("80", str(port)))
        )
        worker.world.dial().fails()
    totals = PortTotals()
    samples = read(worker.stats(), totals)
    assert labels(samples) == {"other"}
    assert samples["cmux_proxy_port_errors_total", "other"] == 2 * MAX_LABELS
    worker.world.ask(CONNECT)
    _, upstream = worker.world.ask(head("GET / HTTP/1.1", "Host: a", ROUTE.replace("80", "1000")))
    upstream.arrives(OK)
    samples = read(worker.stats(), totals)
    # A tunnel is a response too.
    assert labels(samples) == {"other", "127.0.0.1:80", "127.0.0.1:1000"}
    # What was counted under "other" stays there, so that its counters do not fall.
    assert samples[REQUESTS, "other"] == 2 * MAX_LABELS
    assert samples[REQUESTS, "127.0.0.1:1000"] == 1
    assert samples["cmux_proxy_port_errors_total", "127.0.0.1:1000"] == 0


async def test_values_are_the_same_at_every_scrape() -> None:
    totals = PortTotals()
    stats = await varied_stats()
    assert read(stats, totals) == read(stats, totals)


async def test_no_counter_falls_when_a_worker_forgets_a_port() -> None:
    totals = PortTotals()
    stats = await varied_stats()
    for count, shown in ((80, 80), (30, 80), (31, 81), (None, 81), (5, 86)):
        ports = {}
        if count is not None:
            ports["127.0.0.1", 80] = await responded(count=count, tunnels=1)
        samples = read(replace(stats, ports=ports), totals)
        assert samples[REQUESTS, "127.0.0.1:80"] == shown
        assert samples["cmux_proxy_port_tunnels", "127.0.0.1:80"] == (count is not None)
