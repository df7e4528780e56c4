"""A connection whose reading is paused for several reasons."""

import itertools

import pytest

from cmux_proxy.net.flow_control import ENDED, PEER_FULL, PIPELINE_FULL, FlowControlledConnection
from tests.helpers.fakes import FakeStream, World

REASONS = [PEER_FULL, PIPELINE_FULL, ENDED]


def flow_controlled() -> tuple[FlowControlledConnection, FakeStream]:
    """Return a connection that is read."""
    connection = FlowControlledConnection()
    transport = FakeStream(World(), "any")
    connection.transport = transport
    return connection, transport


@pytest.mark.parametrize("order", list(itertools.permutations(REASONS)), ids=str)
def test_it_is_read_again_when_the_last_reason_is_gone(order: tuple[int, ...]) -> None:
    connection, transport = flow_controlled()
    for reason in REASONS:
        connection.hold_reading(reason)
        assert not transport.is_reading()
    for reason in order[:-1]:
        connection.release_reading(reason)
        assert not transport.is_reading()
    connection.release_reading(order[-1])
    assert transport.is_reading()


def test_the_same_reason_counts_once() -> None:
    connection, transport = flow_controlled()
    connection.hold_reading(PEER_FULL)
    connection.hold_reading(PEER_FULL)
    connection.release_reading(PEER_FULL)
    assert transport.is_reading()


def test_releasing_what_is_not_held_changes_nothing() -> None:
    connection, transport = flow_controlled()
    connection.release_reading(PEER_FULL)
    assert transport.is_reading()
    connection.hold_reading(PEER_FULL)
    connection.release_reading(PIPELINE_FULL)
    assert not transport.is_reading()


def test_a_transport_that_is_closing_is_left_alone() -> None:
    connection, transport = flow_controlled()
    transport.close()
    connection.hold_reading(PEER_FULL)
    assert transport.is_reading()
    connection, transport = flow_controlled()
    connection.hold_reading(PEER_FULL)
    transport.close()
    connection.release_reading(PEER_FULL)
    assert not transport.is_reading()


def test_a_new_connection_is_read_and_written() -> None:
    connection, transport = flow_controlled()
    assert transport.is_reading()
    assert connection.is_write_paused is False
