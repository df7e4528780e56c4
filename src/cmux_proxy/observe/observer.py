"""Observer: what `relay` reports finished exchanges and tunnels to.

A proxy without access log, admin listener and traces has none. Does not know connections, formats
or files: records go to the functions that log or export them, numbers stay in `counters.py` and
`port_activity.py` until somebody reads them.
"""

from collections import deque
from collections.abc import Callable
from typing import Final, cast

from cmux_proxy.observe.clock import monotonic
from cmux_proxy.observe.counters import Counters
from cmux_proxy.observe.line_block import Block
from cmux_proxy.observe.outcome import Outcome
from cmux_proxy.observe.port_activity import Ports
from cmux_proxy.observe.record import Record

_MAX_RECENT: Final = 100
_COMPLETE: Final[int] = Outcome.COMPLETE.value
_TUNNELLED: Final[int] = Outcome.TUNNELLED.value
_CLIENT_GONE: Final[int] = Outcome.CLIENT_GONE.value

Sink = Callable[[Record], None]


def is_error(outcome: int) -> bool:
    """Return whether the proxy responded by itself or aborted the response."""
    return outcome != _COMPLETE and outcome != _TUNNELLED and outcome != _CLIENT_GONE


class Observer:
    """Counts exchanges, if `is_counting`, and passes their records on.

    `on_record` gets every record, `on_error` those of exchanges that the proxy could not complete.
    `lines` gets a line for every exchange, for which no record is made.
    """

    __slots__ = (
        "clock",
        "counts",
        "is_counting",
        "lines",
        "on_error",
        "on_record",
        "ports",
        "recent",
        "wants_all",
        "wants_trace",
    )

    def __init__(
        self,
        is_counting: bool,
        on_record: Sink | None = None,
        on_error: Sink | None = None,
        lines: "Block | None" = None,
    ) -> None:
        # Seconds of the monotonic clock; an attribute, because a look-up in a module costs more.
        # Returns a float, typed as an object, because a compiled build would otherwise take its
        # value out of it, and make another float of that for a line.
        self.clock: Callable[[], object] = monotonic
        self.is_counting = is_counting
        self.on_record = on_record
        self.on_error = on_error
        self.lines = lines
        # Whether exchanges that end normally have to be reported too.
        self.wants_all = is_counting or on_record is not None or lines is not None
        # Whether records need the request's traceparent.
        self.wants_trace = False
        self.counts = Counters()
        self.ports = Ports()
        # The last errors, for the dashboard.
        self.recent: deque[Record] = deque(maxlen=_MAX_RECENT)

    def now(self) -> float:
        """Return the time by the clock."""
        return cast(float, self.clock())

    def wants(self, outcome: int) -> bool:
        """Return whether a record of an exchange with this outcome is needed."""
        return self.on_record is not None or is_error(outcome)

    def take(self, record: Record) -> None:
        """Log a record, and pass it on."""
        if self.lines is not None:
            self.lines.put(record)
        if self.on_record is not None:
            self.on_record(record)
        if is_error(record.outcome):
            if self.on_error is not None:
                self.on_error(record)
            if self.is_counting:
                self.recent.append(record)
