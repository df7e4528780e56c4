"""A control whose reading is paused for several reasons."""

import itertools

import pytest

from cmux_proxy.net.flow_control import ENDED, PEER_FULL, PIPELINE_FULL, ReadControl
from tests.helpers.fakes import FakeStream, World

REASONS = [PEER_FULL, PIPELINE_FULL, ENDED]


def read_control() -> tuple[ReadControl, FakeStream]:
    """Return a control that is read."""
    control = ReadControl()
    transport = FakeStream(World(), "any")
    control.stream = transport
    return control, transport


@pytest.mark.parametrize("order", list(itertools.permutations(REASONS)), ids=str)
def test_it_is_read_again_when_the_last_reason_is_gone(order: tuple[int, ...]) -> None:
    control, transport = read_control()
    for reason in REASONS:
        control.stop(reason)
        assert not transport.is_reading()
    for reason in order[:-1]:
        control.resume(reason)
        assert not transport.is_reading()
    control.resume(order[-1])
    assert transport.is_reading()


def test_the_same_reason_counts_once() -> None:
    control, transport = read_control()
    control.stop(PEER_FULL)
    control.stop(PEER_FULL)
    control.resume(PEER_FULL)
    assert transport.is_reading()


def test_releasing_what_is_not_held_changes_nothing() -> None:
    control, transport = read_control()
    control.resume(PEER_FULL)
    assert transport.is_reading()
    control.stop(PEER_FULL)
    control.resume(PIPELINE_FULL)
    assert not transport.is_reading()


def test_a_transport_that_is_closing_is_left_alone() -> None:
    control, transport = read_control()
    transport.close()
    control.stop(PEER_FULL)
    assert transport.is_reading()
    control, transport = read_control()
    control.stop(PEER_FULL)
    transport.close()
    control.resume(PEER_FULL)
    assert not transport.is_reading()


def test_a_new_stream_is_read() -> None:
    control, transport = read_control()
    assert transport.is_reading()
    assert not control.is_stopped()
