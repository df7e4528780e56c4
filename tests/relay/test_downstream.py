"""What an exchange needs of its client's connection."""

import pytest

from cmux_proxy.http1.local_reply import text_content
from cmux_proxy.relay.downstream import EARLY_LIMIT, ClientSide
from cmux_proxy.relay.failures import DRAINING
from tests.helpers.fakes import FakeStream, World


def side() -> tuple[ClientSide, FakeStream]:
    """Return a client's side that is read."""
    client = ClientSide()
    transport = FakeStream(World(), "client")
    client.transport = transport
    return client, transport


@pytest.mark.parametrize("count", [0, 1, EARLY_LIMIT])
def test_with_a_few_early_bytes_the_client_is_still_read(count: int) -> None:
    client, transport = side()
    client.keep_early(b"x" * count)
    assert client.early == b"x" * count
    assert transport.is_reading()


def test_with_many_early_bytes_the_client_is_not_read() -> None:
    client, transport = side()
    client.keep_early(b"x" * (EARLY_LIMIT + 1))
    assert not transport.is_reading()


def test_a_new_client_has_neither_ended_nor_sent_anything_early() -> None:
    client, _transport = side()
    assert (client.early, client.has_ended) == (b"", False)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("body_wanted", ()),
        ("exchange_done", (True,)),
        ("reply", (DRAINING, True, True, text_content("x"))),
        ("linger", ()),
        ("cut", (True,)),
        ("leave", ()),
    ],
)
def test_what_to_do_is_for_the_real_one_to_say(name: str, arguments: tuple[object, ...]) -> None:
    client, _transport = side()
    with pytest.raises(NotImplementedError):
        getattr(client, name)(*arguments)
