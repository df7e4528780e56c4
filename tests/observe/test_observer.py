"""Which records are passed on, and which errors are kept."""

import pytest

from cmux_proxy.observe.observer import Observer
from cmux_proxy.observe.outcome import Outcome
from cmux_proxy.observe.record import REQUEST, Record

ERRORS = {Outcome.REFUSED, Outcome.UNAVAILABLE, Outcome.BROKEN_OFF}


def record_of(outcome: Outcome) -> Record:
    record = Record(REQUEST, "", 0.0)
    record.outcome = outcome
    return record


@pytest.mark.parametrize("outcome", Outcome)
def test_on_error_gets_exchanges_that_the_proxy_could_not_complete(outcome: Outcome) -> None:
    records: list[Record] = []
    observer = Observer(False, on_error=records.append)
    assert not observer.wants_all
    assert observer.wants(outcome) == (outcome in ERRORS)
    observer.take(record_of(outcome))
    assert len(records) == (outcome in ERRORS)


@pytest.mark.parametrize("outcome", Outcome)
def test_on_record_gets_every_record(outcome: Outcome) -> None:
    records: list[Record] = []
    observer = Observer(False, on_record=records.append)
    assert observer.wants_all
    assert observer.wants(outcome)
    observer.take(record_of(outcome))
    assert len(records) == 1


def test_the_last_errors_are_kept_while_counting() -> None:
    observer = Observer(True)
    assert observer.wants_all
    for number in range(150):
        record = record_of(Outcome.COMPLETE if number % 3 else Outcome.UNAVAILABLE)
        record.port = number
        observer.take(record)
    for number in range(300):
        record = record_of(Outcome.REFUSED)
        record.port = 1000 + number
        observer.take(record)
    assert [record.port for record in observer.recent] == list(range(1200, 1300))
    silent = Observer(False)
    silent.take(record_of(Outcome.REFUSED))
    assert not silent.recent
