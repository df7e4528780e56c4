"""What a merged snapshot says of single ports -> metrics for Prometheus.

So many ports have series of their own; all others are one, since every series costs its reader.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from cmux_proxy.admin.aggregate import Snapshot
from cmux_proxy.observe.counters import OTHER

MAX_PORTS: Final = 100

_Key = tuple[str, int]


class PortFigures:
    """The figures of ports, of which the first ones that have answered have a label of their own.

    A port keeps its label for as long as the process lives. Until it has answered it is one of the
    others, so that who looks for open ports uses up no label. What it had counted by then stays
    with the others: no counter falls.
    """

    def __init__(self) -> None:
        self._labels: dict[_Key, str] = {}
        # What the counters of each port were the last time.
        self._before: dict[_Key, Snapshot] = {}
        self._totals: dict[str, Snapshot] = {}

    def take(self, entries: Iterable[Snapshot]) -> dict[str, Snapshot]:
        """Return the figures by label, now that snapshots say this of ports."""
        before, self._before = self._before, {}
        for total in self._totals.values():
            total.update(dict.fromkeys(_GAUGES, 0))
        for entry in sorted(entries, key=lambda entry: -int(entry["count"])):
            key = (entry["host"], entry["port"])
            total = self._totals.setdefault(self._label(key, entry), dict.fromkeys(_FIELDS, 0))
            _add(total, entry, before.get(key, {}))
            self._before[key] = {field: entry[field] for field in _COUNTERS}
        return self._totals

    def _label(self, key: _Key, entry: Snapshot) -> str:
        label = self._labels.get(key)
        if label is not None:
            return label
        has_answered = entry["sent"] or entry["tunnels"]
        if not has_answered or len(self._labels) >= MAX_PORTS:
            return OTHER
        host, port = key
        label = self._labels[key] = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        return label


def _add(total: Snapshot, entry: Snapshot, before: Snapshot) -> None:
    for field in _GAUGES:
        total[field] += entry[field]
    for field in _COUNTERS:
        # Less than before is what is left when a worker has forgotten the port.
        total[field] += max(0, entry[field] - before.get(field, 0))


def port_metrics(entries: Iterable[Snapshot], figures: PortFigures) -> Iterator[Metric]:
    """Return the families of what a merged snapshot says of ports."""
    totals = figures.take(entries)
    for kind, name, field, text in _FAMILIES:
        family = kind(f"cmux_proxy_port_{name}", text, labels=["upstream"])
        for label, total in totals.items():
            family.add_metric([label], total[field])
        yield family


_FAMILIES: Final = (
    (CounterMetricFamily, "requests", "count", "Requests for a port."),
    (CounterMetricFamily, "errors", "errors", "Those that ended with a status of 500 or more."),
    (CounterMetricFamily, "received_bytes", "received", "Bytes that a port was sent."),
    (CounterMetricFamily, "sent_bytes", "sent", "Bytes that a port has sent."),
    (GaugeMetricFamily, "requests_in_flight", "requests", "Requests under way to a port."),
    (GaugeMetricFamily, "tunnels", "tunnels", "Open tunnels to a port."),
)
_COUNTERS: Final = tuple(field for kind, _, field, _ in _FAMILIES if kind is CounterMetricFamily)
_GAUGES: Final = tuple(field for kind, _, field, _ in _FAMILIES if kind is GaugeMetricFamily)
_FIELDS: Final = (*_COUNTERS, *_GAUGES)
