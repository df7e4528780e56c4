"""WorkerHistory: keeps the counters of workers that are busy or dead, so that no counter falls.

Prometheus takes a smaller value for a restart, and the whole next value for growth.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from cmux_proxy.observe.worker_stats import WorkerStats

# Absent workers that are remembered: a worker that dies is replaced, and that one may die too.
MAX_ABSENT: Final = 100


class WorkerHistory:
    """The last statistics of every worker, by process id."""

    def __init__(self) -> None:
        self._present: dict[int, WorkerStats] = {}
        self._absent: dict[int, WorkerStats] = {}

    def complete(self, workers: Sequence[WorkerStats]) -> list[WorkerStats]:
        """Return the given workers, and the counters of those that did not respond this time."""
        present = {stats.pid: stats for stats in workers}
        for pid in present:
            self._absent.pop(pid, None)
        for pid in self._present.keys() - present.keys():
            self._absent[pid] = self._present[pid].without_gauges()
        # The list of connections may be long, and is of no use later.
        self._present = {pid: replace(stats, connections=[]) for pid, stats in present.items()}
        while len(self._absent) > MAX_ABSENT:
            del self._absent[next(iter(self._absent))]
        return [*workers, *self._absent.values()]
