"""Which records the access log, the counters and the traces get, alone and together."""

import itertools

import pytest

from cmux_proxy.config.sections import Observability
from cmux_proxy.observe.line_block import make_block
from cmux_proxy.observe.outcome import Outcome
from cmux_proxy.observe.record import REQUEST, Record
from cmux_proxy.server.telemetry import Telemetry
from tests.helpers.collector import collector

LOGS = {"off": 0, "errors": 1, "all": 2}


@pytest.mark.parametrize(
    ("log", "is_counting", "has_spans"),
    [
        *itertools.product(LOGS, [False, True], [False]),
        ("errors", False, True),
        ("all", True, True),
    ],
)
async def test_log_counters_and_traces_get_what_is_configured(
    log: str, is_counting: bool, has_spans: bool
) -> None:
    logged: list[Record] = []
    with collector() as kept:
        observability = Observability(
            access_log=log,  # type: ignore[arg-type]
            admin="127.0.0.1:0" if is_counting else None,
            otlp=kept.url if has_spans else None,
        )
        telemetry = Telemetry(observability, logged.append)
        observer = telemetry.observer
        assert (observer is None) == (log == "off" and not is_counting and not has_spans)
        if observer is not None:
            assert observer.is_counting == is_counting
            assert observer.wants_trace == has_spans
            for outcome in (Outcome.COMPLETE, Outcome.UNAVAILABLE):
                record = Record(REQUEST, "", 0.0)
                record.outcome = outcome
                observer.take(record)
        await telemetry.close()
    assert len(logged) == LOGS[log]
    assert len(kept.spans) == 2 * has_spans


@pytest.mark.parametrize("is_counting", [False, True])
@pytest.mark.parametrize("log", ["errors", "all"])
async def test_a_block_gets_a_line_for_each_exchange_that_is_logged(
    log: str, is_counting: bool
) -> None:
    admin = "127.0.0.1:0" if is_counting else None
    block = make_block("text", list, bool)
    telemetry = Telemetry(Observability(access_log=log, admin=admin), block)  # type: ignore[arg-type]
    observer = telemetry.observer
    assert observer is not None
    # No record is made for a block alone.
    assert not observer.wants(Outcome.COMPLETE)
    assert observer.wants_all == (log == "all" or is_counting)
    for outcome in (Outcome.COMPLETE, Outcome.UNAVAILABLE):
        record = Record(REQUEST, "", 0.0)
        record.outcome = outcome
        observer.take(record)
    assert block.take().count(b"\n") == LOGS[log]
