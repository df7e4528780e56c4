"""WorkerStats.ports -> metrics of single ports for Prometheus.

A limited number of ports have separate series, because each series costs Prometheus memory.
All other ports share one series.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from cmux_proxy.config.address import format_authority
from cmux_proxy.observe.counters import OTHER
from cmux_proxy.observe.worker_stats import PortKey, PortStats

MAX_LABELS: Final = 100

_FAMILIES: Final = (
    (CounterMetricFamily, "requests", "count", "Requests for a port."),
    (CounterMetricFamily, "errors", "errors", "Those that ended with a status of 500 or more."),
    (CounterMetricFamily, "received_bytes", "received", "Bytes sent to a port."),
    (CounterMetricFamily, "sent_bytes", "sent", "Bytes that a port has sent."),
    (GaugeMetricFamily, "requests_in_flight", "requests", "Requests under way to a port."),
    (GaugeMetricFamily, "tunnels", "tunnels", "Open tunnels to a port."),
)
# The fields of PortStats by the type of their metric.
_COUNTERS: Final = tuple(field for type_, _, field, _ in _FAMILIES if type_ is CounterMetricFamily)
_GAUGES: Final = tuple(field for type_, _, field, _ in _FAMILIES if type_ is GaugeMetricFamily)

_Values = dict[str, int]


class PortTotals:
    """The values of each label: one for each of the first ports that have responded.

    A port keeps its label for as long as the process lives. Until it has responded it counts under
    "other", so that a port scan uses up no labels. What it had counted by then stays under "other",
    because counters must not fall.
    """

    def __init__(self) -> None:
        self._labels: dict[PortKey, str] = {}
        # The counters of each port at the previous update.
        self._previous: dict[PortKey, _Values] = {}
        self._totals: dict[str, _Values] = {}

    def update(self, ports: Mapping[PortKey, PortStats]) -> dict[str, _Values]:
        """Return the values by label, after adding what the ports have counted since the last."""
        previous, self._previous = self._previous, {}
        for values in self._totals.values():
            values.update(dict.fromkeys(_GAUGES, 0))
        for key, stats in sorted(ports.items(), key=_rank):
            label = self._label(key, stats)
            values = self._totals.setdefault(label, dict.fromkeys((*_COUNTERS, *_GAUGES), 0))
            _add(values, stats, previous.get(key, {}))
            self._previous[key] = {field: getattr(stats, field) for field in _COUNTERS}
        return self._totals

    def _label(self, key: PortKey, stats: PortStats) -> str:
        label = self._labels.get(key)
        if label is not None:
            return label
        has_responded = stats.sent or stats.tunnels
        if not has_responded or len(self._labels) >= MAX_LABELS:
            return OTHER
        host, port = key
        label = self._labels[key] = format_authority(host, port)
        return label


def _rank(item: tuple[PortKey, PortStats]) -> tuple[int, int, str]:
    """Order ports by their requests, the busiest first, and those with as many by port and host."""
    (host, port), stats = item
    return -stats.count, port, host


def _add(values: _Values, stats: PortStats, previous: _Values) -> None:
    for field in _GAUGES:
        values[field] += getattr(stats, field)
    for field in _COUNTERS:
        # A value that is lower than the previous one is what is left after a worker forgot a port.
        values[field] += max(0, getattr(stats, field) - previous.get(field, 0))


def port_metrics(ports: Mapping[PortKey, PortStats], totals: PortTotals) -> Iterator[Metric]:
    """Return the metric families of single ports."""
    values_by_label = totals.update(ports)
    for family_type, name, field, text in _FAMILIES:
        family = family_type(f"cmux_proxy_port_{name}", text, labels=["upstream"])
        for label, values in values_by_label.items():
            family.add_metric([label], values[field])
        yield family
