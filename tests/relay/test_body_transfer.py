"""Which bodies are spliced."""

import sys

import pytest

from cmux_proxy.http1.body import Body, LengthBody, UntilCloseBody
from cmux_proxy.http1.chunked_body import ChunkedBody, ChunkRules
from cmux_proxy.net.splice import LARGE_READ, MIN_LEFT, SplicePipe, SpliceTransfer
from cmux_proxy.relay.body_transfer import start_transfer
from tests.helpers.fakes import FakeStream, World

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="splice is Linux's")


class Open(FakeStream):
    """A stream with a descriptor."""

    def __init__(self, world: World) -> None:
        super().__init__(world, "open")
        self.socket.fileno = lambda: 7  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("body", "is_spliced"),
    [
        pytest.param(UntilCloseBody(), True, id="until close"),
        pytest.param(LengthBody(MIN_LEFT), True, id="long"),
        pytest.param(LengthBody(MIN_LEFT - 1), False, id="short"),
        pytest.param(ChunkedBody(ChunkRules(100, 100, 100, b"x-"), False), False, id="chunked"),
    ],
)
def test_long_bodies_whose_bytes_are_not_parsed_are_spliced(body: Body, is_spliced: bool) -> None:
    world = World()
    source = Open(world)
    start_transfer(SplicePipe(), source, Open(world), body, lambda _count: None, LARGE_READ)
    assert isinstance(source.get_protocol(), SpliceTransfer) == is_spliced
