"""What a merged snapshot says of single ports -> metrics for Prometheus.

So many ports have series of their own; all others are one, since every series costs its reader.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from cmux_proxy.admin.merging import Snapshot
from cmux_proxy.observe.counts import OTHER

MOST_PORTS: Final = 100


class PortLabels:
    """Which ports have a series of their own: the first ones, for as long as the process lives."""

    def __init__(self) -> None:
        self._known: set[tuple[str, int]] = set()

    def of(self, host: str, port: int) -> str:
        """Return the label of a port."""
        key = (host, port)
        if key not in self._known and len(self._known) >= MOST_PORTS:
            return OTHER
        self._known.add(key)
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def port_metrics(entries: Iterable[Snapshot], labels: PortLabels) -> Iterator[Metric]:
    """Return the families of what a merged snapshot says of ports."""
    totals: dict[str, Snapshot] = {}
    for entry in sorted(entries, key=lambda entry: -int(entry["count"])):
        total = totals.setdefault(labels.of(entry["host"], entry["port"]), {})
        for _, _, field, _ in _PORT:
            total[field] = total.get(field, 0) + entry[field]
    for kind, name, field, text in _PORT:
        family = kind(f"cmux_proxy_port_{name}", text, labels=["upstream"])
        for label, total in totals.items():
            family.add_metric([label], total[field])
        yield family


_PORT: Final = (
    (CounterMetricFamily, "requests", "count", "Requests for a port."),
    (CounterMetricFamily, "errors", "errors", "Those that ended with a status of 500 or more."),
    (CounterMetricFamily, "received_bytes", "received", "Bytes that a port was sent."),
    (CounterMetricFamily, "sent_bytes", "sent", "Bytes that a port has sent."),
    (GaugeMetricFamily, "requests_in_flight", "requests", "Requests under way to a port."),
    (GaugeMetricFamily, "tunnels", "tunnels", "Open tunnels to a port."),
)
