"""Header blocks and requests of HTTP/2; a name consists of step, message and sameness."""

from collections.abc import Sequence
from functools import partial

from bench.micro.heads import response_bytes
from bench.micro.timing import REPEATS, Prepare, Step, always
from cmux_proxy import Limits
from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.head_limits import HeadLimits
from cmux_proxy.http2.engine import Engine
from cmux_proxy.http2.field_memory import FieldMemory
from cmux_proxy.http2.frame_types import END_HEADERS, END_STREAM, HEADERS, PREFACE, SETTINGS
from cmux_proxy.http2.frame_writer import frame_header
from cmux_proxy.http2.handler import ConnectionHandler
from cmux_proxy.http2.hpack_decoder import HpackDecoder
from cmux_proxy.http2.hpack_encoder import HpackEncoder
from cmux_proxy.http2.http2_limits import Http2Limits
from cmux_proxy.http2.http2_stream import Http2Stream
from cmux_proxy.http2.line_memory import LineMemory, encode_string
from cmux_proxy.http2.request_composer import RequestComposer
from cmux_proxy.http2.server_connection import ServerConnection

_LIMITS = Limits()
_HEAD_LIMITS = HeadLimits(_LIMITS.request_line, _LIMITS.header_section, _LIMITS.header_fields)
_BROWSER = {
    ":method": "GET",
    ":authority": "3000.localhost:8080",
    ":scheme": "https",
    ":path": "/items/10000",
    "sec-ch-ua": '"Chromium";v="140", "Not=A?Brand";v="24"',
    "sec-ch-ua-mobile": "?0",
    "sec-ch-ua-platform": '"Linux"',
    "user-agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0.0.0",
    "accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "sec-fetch-site": "same-origin",
    "sec-fetch-mode": "navigate",
    "sec-fetch-dest": "document",
    "referer": "https://3000.localhost:8080/",
    "accept-encoding": "gzip, deflate, br, zstd",
    "accept-language": "en-GB,en;q=0.9",
}
_BODY = bytes(6)


class Answering(ConnectionHandler):
    """Answers each request at once."""

    def __init__(self, head: bytes) -> None:
        self.head = head
        self.connection = ServerConnection(Engine(Http2Limits(_HEAD_LIMITS)), self)

    def on_request(self, stream: Http2Stream, head: bytes, is_repeated: bool) -> None:
        """Answer it with a small body."""
        self.connection.send_head(stream, self.head, False)
        self.connection.send_data(stream, _BODY, True)

    def on_bad_request(self, stream: Http2Stream, error: BadMessage) -> None:
        """Fail: there is none."""
        raise error

    def on_closed(self, stream: Http2Stream) -> None:
        """Do nothing."""


def first_block() -> bytes:
    """Return the block of a first request, which enters all its fields into the table."""
    block = b""
    for name, value in _BROWSER.items():
        block += b"\x40" + encode_string(name.encode(), True) + encode_string(value.encode(), True)
    return block


def request_blocks(run: int, is_unique: bool) -> list[bytes]:
    """Return the blocks of the requests behind it, of which only the path is not in the table."""
    names = [*_BROWSER]
    entries = [0x80 | 61 + len(names) - at for at in range(len(names))]
    path_at = names.index(":path")
    before, after = bytes(entries[:path_at]), bytes(entries[path_at + 1 :])
    blocks = []
    for count in range(REPEATS):
        path = b"/items/%d/%d" % (run, count) if is_unique else b"/items/0/0"
        blocks.append(before + b"\x04" + encode_string(path, True) + after)
    return blocks


def decode(is_unique: bool, run: int) -> Step:
    """Prepare the decoding of blocks, and the composition of heads."""
    decoder = HpackDecoder(_HEAD_LIMITS, FieldMemory())
    decoder.decode(first_block())
    return partial(decode_all, decoder, request_blocks(run, is_unique))


def decode_all(decoder: HpackDecoder, blocks: Sequence[bytes]) -> None:
    """Decode each block, and compose its head."""
    composer = RequestComposer()
    for block in blocks:
        composer.compose(decoder.decode(block), True)


def encode_all(encoder: HpackEncoder, heads: Sequence[bytes]) -> None:
    """Encode each head."""
    for head in heads:
        encoder.head_frames(1, head, False)


def exchange(streams: int, run: int) -> Step:
    """Prepare requests that arrive and are answered so many at a time."""
    owner = Answering(response_bytes({}, 6))
    first = first_block()
    stream_id = 1
    flags = END_HEADERS | END_STREAM
    start = PREFACE + frame_header(0, SETTINGS, 0, 0)
    owner.connection.receive(start + frame_header(len(first), HEADERS, flags, 1) + first, 0.0)
    owner.connection.take_frames()
    reads: list[bytes] = []
    blocks = request_blocks(run, True)
    for begin in range(0, REPEATS, streams):
        frames = b""
        for block in blocks[begin : begin + streams]:
            stream_id += 2
            frames += frame_header(len(block), HEADERS, flags, stream_id) + block
        reads.append(frames)
    return partial(exchange_all, owner.connection, reads)


def exchange_all(connection: ServerConnection, reads: Sequence[bytes]) -> None:
    """Pass each read to the connection, and take what it answers."""
    for read in reads:
        connection.receive(read, 0.0)
        b"".join(connection.take_frames())


def cases() -> dict[str, Prepare]:
    """Return the steps to time."""
    heads = [response_bytes({}, 6)] * REPEATS
    steps: dict[str, Prepare] = {
        "http2-decode-browser-repeated": partial(decode, False),
        "http2-decode-browser-unique": partial(decode, True),
        "http2-encode-response": always(partial(encode_all, HpackEncoder(LineMemory()), heads)),
    }
    for streams in (1, 10, 100):
        steps[f"http2-exchange-{streams}-streams"] = partial(exchange, streams)
    return steps
