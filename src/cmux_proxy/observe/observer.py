"""Observer: what `relay` tells when an exchange or a tunnel has ended.

There is none where nobody wants to know. Knows neither connections nor formats: the records go to
whoever logs or exports them, the numbers wait in `counters.py` and `port_stats.py` to be asked for.
"""

from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Final

from cmux_proxy.observe.counters import Counts
from cmux_proxy.observe.outcome import Outcome
from cmux_proxy.observe.port_stats import Ports
from cmux_proxy.observe.record import Record

_MOST_RECENT: Final = 100
_COMPLETE: Final[int] = Outcome.COMPLETE.value
_TUNNELLED: Final[int] = Outcome.TUNNELLED.value
_CLIENT_GONE: Final[int] = Outcome.CLIENT_GONE.value

Sink = Callable[[Record], None]


def is_error(outcome: int) -> bool:
    """Return whether the proxy had to answer by itself, or to break off."""
    return outcome != _COMPLETE and outcome != _TUNNELLED and outcome != _CLIENT_GONE


class Observer:
    """Counts, if it is to, and passes records on to its sinks.

    `on_record` gets every record, `on_error` those of exchanges that the proxy had to answer by
    itself or to break off.
    """

    __slots__ = (
        "clock",
        "counts",
        "is_counting",
        "on_error",
        "on_record",
        "ports",
        "recent",
        "wants_all",
        "wants_trace",
    )

    def __init__(
        self, is_counting: bool, on_record: Sink | None = None, on_error: Sink | None = None
    ) -> None:
        # Seconds; kept here, since to look a function up in its module is dear.
        self.clock: Callable[[], float] = monotonic
        self.is_counting = is_counting
        self.on_record = on_record
        self.on_error = on_error
        # Whether it is told of exchanges that end as they should.
        self.wants_all = is_counting or on_record is not None
        # Whether records are to have the request's traceparent.
        self.wants_trace = False
        self.counts = Counts()
        self.ports = Ports()
        # The last errors, for people who look.
        self.recent: deque[Record] = deque(maxlen=_MOST_RECENT)

    def wants(self, outcome: int) -> bool:
        """Return whether anybody wants a record of what ended so."""
        return self.on_record is not None or is_error(outcome)

    def take(self, record: Record) -> None:
        """Pass a record on."""
        if self.on_record is not None:
            self.on_record(record)
        if is_error(record.outcome):
            if self.on_error is not None:
                self.on_error(record)
            if self.is_counting:
                self.recent.append(record)
