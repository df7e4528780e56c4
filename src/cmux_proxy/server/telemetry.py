"""Telemetry: the observer of one proxy, and the access log, counters and traces behind it."""

import asyncio
import time
from typing import TYPE_CHECKING, Final

from cmux_proxy.config.sections import Observability
from cmux_proxy.observe.line_block import is_block
from cmux_proxy.observe.observer import Observer, Sink
from cmux_proxy.observe.record import Record
from cmux_proxy.relay.services import Services
from cmux_proxy.server.tracing import Tracing

if TYPE_CHECKING:
    from cmux_proxy.observe.worker_stats import WorkerStats

# When the program started: workers are forked after this file is loaded.
STARTED: Final = time.time()


class Telemetry:
    """Has the proxy's observer, or None if nothing is observed; raises ConfigError.

    `log` gets the records for the access log; a block gets lines, made without records.
    """

    def __init__(self, observability: Observability, log: Sink) -> None:
        self._tracing = None if observability.otlp is None else Tracing(observability.otlp)
        is_counting = observability.admin is not None
        self.observer: Observer | None = None
        if is_counting or self._tracing is not None or observability.access_log != "off":
            lines = log if is_block(log) else None
            logs_all = observability.access_log == "all"
            on_record = self._on_record(log if logs_all and lines is None else None)
            on_error = log if observability.access_log == "errors" else None
            self.observer = Observer(is_counting, on_record, on_error, lines if logs_all else None)
            self.observer.wants_trace = self._tracing is not None
        self._take_snapshot = None
        if is_counting:
            from cmux_proxy.server.snapshot import take_snapshot

            self._take_snapshot = take_snapshot

    def stats(self, services: Services, max_connections: int) -> "WorkerStats":
        """Return the present statistics; raise RuntimeError where nothing is counted."""
        if self._take_snapshot is None or self.observer is None:
            raise RuntimeError("nothing is counted")
        return self._take_snapshot(services, self.observer, max_connections)

    async def close(self) -> None:
        """Send the spans that wait."""
        if self._tracing is not None:
            await asyncio.to_thread(self._tracing.close)

    def _on_record(self, log: Sink | None) -> Sink | None:
        tracing = self._tracing
        if tracing is None or log is None:
            return log if tracing is None else tracing.put

        def both(record: Record) -> None:
            log(record)
            tracing.put(record)

        return both
