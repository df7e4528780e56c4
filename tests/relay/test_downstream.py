"""What an exchange needs of its client's connection."""

import pytest

from cmux_proxy.relay.downstream import PIPELINE_LIMIT, Downstream
from cmux_proxy.relay.response_writer import ResponseWriter
from tests.helpers.fakes import FakeStream, World


def downstream() -> tuple[Downstream, FakeStream]:
    """Return a client's connection that is read."""
    client = Downstream(ResponseWriter())
    transport = FakeStream(World(), "client")
    client.transport = transport
    return client, transport


@pytest.mark.parametrize("count", [0, 1, PIPELINE_LIMIT])
def test_with_a_few_pipelined_bytes_the_client_is_still_read(count: int) -> None:
    client, transport = downstream()
    client.keep_pipelined(b"x" * count)
    assert client.pipelined == b"x" * count
    assert transport.is_reading()


def test_with_many_pipelined_bytes_the_client_is_not_read() -> None:
    client, transport = downstream()
    client.keep_pipelined(b"x" * (PIPELINE_LIMIT + 1))
    assert not transport.is_reading()


def test_a_new_client_has_neither_ended_nor_pipelined_anything() -> None:
    client, _transport = downstream()
    assert (client.pipelined, client.has_ended) == (b"", False)
