"""What an exchange uses of its client's connection."""

import pytest

from cmux_proxy.relay.downstream import PIPELINE_LIMIT, Downstream
from cmux_proxy.relay.response_writer import ResponseWriter
from tests.helpers.fakes import FakeStream, World


def downstream() -> tuple[Downstream, FakeStream]:
    """Return a client's connection and its fake stream."""
    client = Downstream(ResponseWriter())
    transport = FakeStream(World(), "client")
    client.transport = client.reading.stream = transport
    return client, transport


@pytest.mark.parametrize("count", [0, 1, PIPELINE_LIMIT])
def test_a_few_pipelined_bytes_do_not_pause_reading(count: int) -> None:
    client, transport = downstream()
    client.keep_pipelined(b"x" * count)
    assert client.pipelined == b"x" * count
    assert transport.is_reading()


def test_many_pipelined_bytes_pause_reading() -> None:
    client, transport = downstream()
    client.keep_pipelined(b"x" * (PIPELINE_LIMIT + 1))
    assert not transport.is_reading()


def test_a_new_client_has_not_ended_and_has_no_pipelined_bytes() -> None:
    client, _transport = downstream()
    assert (client.pipelined, client.has_ended) == (b"", False)
