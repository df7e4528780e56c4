"""Bodies, one piece per read; a name consists of body, framing and size of the piece."""

from functools import partial

from bench.micro.timing import REPEATS, Prepare, always
from cmux_proxy import Limits
from cmux_proxy.http1.body import Body, LengthBody, UntilCloseBody
from cmux_proxy.http1.chunked_body import ChunkedBody, ChunkRules
from cmux_proxy.http1.serialize import encode_chunk

_PIECE = bytes(65536)
_LIMITS = Limits()
_RULES = ChunkRules(_LIMITS.chunk_extensions, _LIMITS.chunk_extensions, _LIMITS.trailers, b"x-cmux")
_WHOLE_CHUNK = encode_chunk(_PIECE)
_SMALL_CHUNKS = encode_chunk(bytes(100)) * 10


def feed(body: Body, piece: bytes) -> None:
    """Feed many reads to one body."""
    for _ in range(REPEATS):
        body.feed(piece, 0)


def small_bodies(piece: bytes) -> None:
    """Feed bodies that arrive in one read with their heads."""
    for _ in range(REPEATS):
        LengthBody(len(piece)).feed(piece, 0)


def wrap(piece: bytes) -> None:
    """Encode chunks."""
    for _ in range(REPEATS):
        encode_chunk(piece)


def cases() -> dict[str, Prepare]:
    """Return the steps to time."""
    return {
        "body-length-64k": lambda _run: partial(feed, LengthBody(len(_PIECE) * REPEATS), _PIECE),
        "body-length-whole": always(partial(small_bodies, bytes(13))),
        "body-until-close-64k": always(partial(feed, UntilCloseBody(), _PIECE)),
        "body-chunked-64k": lambda _run: partial(feed, ChunkedBody(_RULES, False), _WHOLE_CHUNK),
        "body-chunked-10x100": lambda _run: partial(
            feed, ChunkedBody(_RULES, False), _SMALL_CHUNKS
        ),
        "body-unwrapped-10x100": lambda _run: partial(
            feed, ChunkedBody(_RULES, True), _SMALL_CHUNKS
        ),
        "body-wrap-1k": always(partial(wrap, bytes(1024))),
    }
