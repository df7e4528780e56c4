"""Times steps that are much shorter than reading the clock."""

import statistics
import timeit
from collections.abc import Callable, Mapping

Step = Callable[[], None]  # repeats the timed code REPEATS times
Prepare = Callable[[int], Step]  # the number of the run -> its step

REPEATS = 1000
RUNS = 50


def always(step: Step) -> Prepare:
    """Return a function that gives every run the same step."""

    def prepare(_run: int) -> Step:
        return step

    return prepare


def time_runs(prepare: Prepare) -> list[float]:
    """Return the nanoseconds per repeat of each run."""
    return [timeit.timeit(prepare(run), number=1) / REPEATS * 1e9 for run in range(RUNS)]


def show(cases: Mapping[str, Prepare]) -> None:
    """Time every case, and print the result."""
    width = max(map(len, cases), default=0)
    print(f"{'nanoseconds':{width}}  {'min':>7}  {'median':>7}")
    for name, prepare in sorted(cases.items()):
        times = time_runs(prepare)
        print(f"{name:{width}}  {min(times):7.0f}  {statistics.median(times):7.0f}")
