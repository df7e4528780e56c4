"""A proxy without sockets or a clock, and one HTTP/2 client that writes its frames by hand."""

from collections.abc import Iterable

from cmux_proxy import Config
from cmux_proxy.downstream.http2_connection import Http2Connection
from cmux_proxy.http2.frame_types import DATA, GOAWAY, PREFACE, RST_STREAM, SETTINGS
from tests.helpers.fakes import FakeStream, World
from tests.helpers.http2_frames import GET, POST, Fields, Frame, frame, plain_block, read_frames

ROUTE = (b"x-cmux-port-internal", b"80")
GREETING = PREFACE + frame(SETTINGS, 0, 0)


def headers(stream_id: int, fields: Fields = GET, is_last: bool = True) -> bytes:
    """Return a HEADERS frame of a request to the upstream."""
    return frame(1, 4 | is_last, stream_id, plain_block([*fields, ROUTE]))


class Http2Site:
    """A world with one client; the bytes of the client are a test's."""

    def __init__(self, config: Config | None = None, greets: bool = True) -> None:
        self.world = World(config)
        self.client = self.world.client()
        self._seen = 0
        if greets:
            self.sends(GREETING)
            assert [sent.kind for sent in self.frames()] == [SETTINGS, 8, SETTINGS]

    def run(self) -> None:
        """Let everything happen that is due now."""
        self.world.run()
        while self.world.loop.soon:
            self.world.loop.turn()
            self.world.run()

    def sends(self, *pieces: bytes) -> None:
        """Let bytes of the client arrive."""
        for piece in pieces:
            self.client.arrives(piece)
            self.run()

    def walk(self, seconds: float) -> None:
        """Let time pass."""
        self.world.walk(seconds)
        self.run()

    def ask(
        self, stream_id: int = 1, fields: Iterable[tuple[bytes, bytes]] = GET, is_last: bool = True
    ) -> FakeStream:
        """Send a request; return the upstream that gets it."""
        self.sends(headers(stream_id, list(fields), is_last))
        upstream = self.world.dial().succeeds()
        self.run()
        return upstream

    def post(self, stream_id: int = 1, *fields: tuple[bytes, bytes]) -> FakeStream:
        """Begin a request with a body."""
        return self.ask(stream_id, [*POST, *fields], False)

    def arrives(self, upstream: FakeStream, data: bytes) -> None:
        """Let bytes of an upstream arrive."""
        upstream.arrives(data)
        self.run()

    def frames(self) -> list[Frame]:
        """Return the frames that the client has got since the last look."""
        data = self.client.got[self._seen :]
        self._seen = len(self.client.got)
        return read_frames(data)

    def pending_size(self) -> int:
        """Return how many body bytes wait for the client."""
        owner = self.client.owner
        assert isinstance(owner, Http2Connection)
        return owner._engine.pending_size()


def goaways(frames: list[Frame]) -> list[tuple[int, int, bytes]]:
    """Return last stream, code and reason of each GOAWAY."""
    return [
        (int.from_bytes(each.payload[:4], "big"), int.from_bytes(each.payload[4:8], "big"),
         each.payload[8:])
        for each in frames
        if each.kind == GOAWAY
    ]  # fmt: skip


def resets(frames: list[Frame]) -> list[tuple[int, int]]:
    """Return stream and code of each RST_STREAM."""
    return [
        (each.stream_id, int.from_bytes(each.payload, "big"))
        for each in frames
        if each.kind == RST_STREAM
    ]


def data_of(frames: list[Frame], stream_id: int) -> bytes:
    """Return the DATA of a stream."""
    return b"".join(
        each.payload for each in frames if each.kind == DATA and each.stream_id == stream_id
    )
