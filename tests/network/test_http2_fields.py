"""Each rule about header blocks and fields (RFC 7541, RFC 9113 section 8) over a real socket."""

from typing import Final

import pytest

from cmux_proxy.http2.error_codes import (
    COMPRESSION_ERROR,
    ENHANCE_YOUR_CALM,
    PROTOCOL_ERROR,
)
from tests.helpers.http2_cases import (
    ROUTE,
    ROUTED,
    ROUTED_POST,
    Case,
    Ends,
    Resets,
    play,
    raw_stage,
    request,
    ways,
)
from tests.helpers.http2_frames import Fields, frame, plain_block
from tests.helpers.timing import soon

BLOCK: Final = plain_block(ROUTED)
CONNECT: Final[Fields] = [(b":method", b"CONNECT"), (b":authority", b"a:1"), ROUTE]
WEBSOCKET: Final[Fields] = [CONNECT[0], (b":protocol", b"websocket"), *ROUTED[1:]]


def without(name: bytes, fields: Fields = ROUTED) -> list[tuple[bytes, bytes]]:
    """Return the fields except one."""
    return [field for field in fields if field[0] != name]


def replaced(name: bytes, value: bytes, fields: Fields = ROUTED) -> list[tuple[bytes, bytes]]:
    """Return the fields with another value of one."""
    return [(name, value) if field[0] == name else field for field in fields]


CUT = "a header block is cut short"
NO_INDEX = "an index is in none of the tables"
INSIDE = "the size of the table changes inside a header block"
# What ends the connection, because the tables of both sides may differ from then on.
BLOCKS: Final = {
    "index-0": (b"\x80", NO_INDEX),
    "index-beyond-the-tables": (b"\xbe", NO_INDEX),
    "index-far-beyond": (b"\xff\x80\x80\x01", NO_INDEX),
    "name-beyond-the-tables": (b"\x7f\x00\x01a", NO_INDEX),
    "name-of-a-literal-beyond-the-tables": (b"\x0f\x60\x01a", NO_INDEX),
    "size-update-inside": (BLOCK + b"\x20", INSIDE),
    "size-update-between": (BLOCK + b"\x20\x82", INSIDE),
    "size-update-too-large": (b"\x3f\xe2\x1f" + BLOCK, "the table would be larger than it may be"),
    "huffman-padding-of-zeros": (b"\x10\x81\x18\x01a", None),
    "huffman-padding-of-a-byte": (b"\x10\x82\x1f\xff\x01a", None),
    "huffman-eos": (b"\x10\x84\xff\xff\xff\xff\x01a", None),
    "no-value": (b"\x10\x01a", CUT),
    "string-cut-short": (b"\x10\x01a\x05abc", CUT),
    "integer-cut-short": (b"\xff\xff", None),
    "integer-too-large": (b"\x7f" + b"\xff" * 12, None),
}


@pytest.mark.parametrize(("block", "rule"), BLOCKS.values(), ids=BLOCKS)
@pytest.mark.parametrize("state", ["fresh", "open", "half", "dropped"])
async def test_a_block_that_cannot_be_decoded(state: str, block: bytes, rule: str | None) -> None:
    stream_id = 3 if state == "fresh" else 1
    case = Case("", state, frame(1, 5, stream_id, block), Ends(COMPRESSION_ERROR, rule))
    await play(case)


CONTROL: Final = [bytes([byte]) for byte in (*range(0x09), *range(0x0A, 0x20), 0x7F)]
CONNECTION_FIELDS: Final = (
    (b"connection", b"close"), (b"connection", b"te"), (b"keep-alive", b"timeout=5"),
    (b"proxy-connection", b"close"), (b"upgrade", b"h2c"), (b"transfer-encoding", b"chunked"),
    (b"te", b"gzip"), (b"te", b"trailers, deflate"), (b"te", b""),
)  # fmt: skip
# Malformed requests: their stream is reset (section 8.1.1).
REQUESTS: Final[dict[str, Fields]] = {
    # 8.2.1: names and values
    **{f"name-{name!r}": [*ROUTED, (name, b"x")] for name in (
        b"", b"A", b"x-A", b"a b", b"a:", b"a\r\nb", b"a\0", b"\x80", b"a(", b" a", b"a ", b"a\t",
        b"a/b", b'"', b"\x7f",
    )},
    **{f"value-{value!r}": [*ROUTED, (b"a", value)] for value in (
        *(b"x" + byte + b"y" for byte in CONTROL), b" x", b"x ", b"\tx", b"x\t", b"x\r\ny: z",
    )},
    "cookie-with-a-line": [*ROUTED, (b"cookie", b"a\r\nb: c")],
    "host-with-a-line": [*without(b":authority"), (b"host", b"a\r\nb: c")],
    # 8.2.2: fields of connections
    **{f"{name!r}-{value!r}": [*ROUTED, (name, value)] for name, value in CONNECTION_FIELDS},
    # 8.3: pseudo-fields
    **{f"no-{name!r}": without(name) for name in (b":method", b":path", b":scheme")},
    **{f"two-{name!r}": [(name, value), *ROUTED] for name, value in ROUTED[:4]},
    "unknown-pseudo-field": [(b":path2", b"/"), *ROUTED],
    "status": [(b":status", b"200"), *ROUTED],
    "colon-alone": [(b":", b"x"), *ROUTED],
    **{f"late-{name!r}": [*without(name), (name, value)] for name, value in ROUTED[:4]},
    "protocol-without-connect": [(b":protocol", b"websocket"), *ROUTED],
    # 8.3.1: their values
    **{f"method-{value!r}": replaced(b":method", value) for value in (
        b"", b"G T", b"GET /", b"G\r\nT", b"GET\0", b"(", b"\xff", b" GET", b"GET ",
    )},
    **{f"path-{value!r}": replaced(b":path", value) for value in (
        b"", b"x", b"*", b"http://b/", b"/ x", b"/\r\nx", b"/#x", b"/\x7f", b"/\x80", b"/\0",
        b"/\t", b" /", b"/ ", b"/ HTTP/1.1", b"?x",
    )},
    **{f"authority-{value!r}": replaced(b":authority", value) for value in (
        b"a b", b"a\r\nb: c", b"a\0", b" a", b"a ", b"a\t", b"\x80", b"a#b",
    )},
    **{f"scheme-{value!r}": replaced(b":scheme", value) for value in (
        b"", b"ftp", b"http ", b"HTTP", b"https\0", b"ws",
    )},
    # 8.1.1, RFC 9110 section 8.6: lengths
    **{f"length-{value!r}": [*ROUTED_POST, (b"content-length", value)] for value in (
        b"", b"-1", b"+1", b"1,1", b"0x1", b"1 ", b"9" * 40, b"1.0", b"a",
    )},
    "length-of-a-request-without-a-body": [*ROUTED_POST, (b"content-length", b"1")],
    "two-lengths": [*ROUTED_POST, (b"content-length", b"0"), (b"content-length", b"0")],
    # 8.5, RFC 8441 section 4
    "connect-with-path": [(b":path", b"/"), *CONNECT],
    "connect-with-scheme": [(b":scheme", b"http"), *CONNECT],
    "connect-without-authority": [CONNECT[0], ROUTE],
    "connect-with-length": [*CONNECT, (b"content-length", b"0")],
    "extended-connect-without-path": without(b":path", WEBSOCKET),
    "extended-connect-without-scheme": without(b":scheme", WEBSOCKET),
    "extended-connect-with-length": [*WEBSOCKET, (b"content-length", b"5")],
    **{f"protocol-{value!r}": replaced(b":protocol", value, WEBSOCKET) for value in (
        b"", b"web socket", b"a\r\nb", b"a,b", b"websocket\0",
    )},
}  # fmt: skip


@pytest.mark.parametrize("fields", REQUESTS.values(), ids=REQUESTS)
async def test_a_malformed_request_resets_its_stream(fields: Fields) -> None:
    await play(Case("", "fresh", request(1, fields), Resets(PROTOCOL_ERROR)))


@pytest.mark.parametrize(
    "fields",
    [
        [(b":path", b"/")], [(b":method", b"GET")], [(b":status", b"200")], [(b"A", b"b")],
        [(b"a", b"b\r\nc: d")], [(b"connection", b"close")], [(b"te", b"gzip")], [(b"a", b" b")],
    ],
    ids=str,
)  # fmt: skip
async def test_malformed_trailers_reset_their_stream(fields: Fields) -> None:
    await play(Case("", "open", request(1, fields), Resets(PROTOCOL_ERROR)))


async def test_large_trailers_reset_their_stream() -> None:
    # A field of 3,900 bytes, and references to it: more than 64 KiB in all.
    block = b"\x40\x01x\x7f\xbd\x1d" + b"v" * 3900 + b"\xbe" * 20
    await play(Case("", "open", frame(1, 5, 1, block), Resets(ENHANCE_YOUR_CALM)))


DATA: Final[dict[str, tuple[bytes, list[bytes | None]]]] = {
    "more-than-announced": (b"3", [b"abcd"]),
    "more-in-several-frames": (b"3", [b"ab", b"cd"]),
    "less-than-announced": (b"3", [b"ab", None]),
    "less-in-one-frame": (b"3", [b"ab!"]),
    "nothing": (b"3", [b"!"]),
    "less-and-trailers": (b"3", [b"ab", b"trailers"]),
    "more-than-none": (b"0", [b"a"]),
}


def body(pieces: list[bytes | None]) -> bytes:
    """Return DATA frames; None is an empty last one, "!" at the end marks the last."""
    frames = b""
    for piece in pieces:
        if piece == b"trailers":
            frames += request(1, [(b"a", b"b")])
        elif piece is None:
            frames += frame(0, 1, 1)
        else:
            frames += frame(0, piece.endswith(b"!"), 1, piece.removesuffix(b"!"))
    return frames


@pytest.mark.parametrize(("length", "pieces"), DATA.values(), ids=DATA)
async def test_data_has_to_add_up_to_the_length(length: bytes, pieces: list[bytes | None]) -> None:
    async with raw_stage() as on:
        post = [*ROUTED_POST, (b"content-length", length)]
        data = body(pieces)
        for _name, parts in ways(data):
            with await on.client() as client:
                await client.send(on.routed(request(1, post, 4)))
                upstream = await on.accept()
                await client.send(*parts)
                assert await client.reset() == (1, PROTOCOL_ERROR)
                # What has come before may have been sent on, and the request is not complete.
                with upstream:
                    received = await soon(upstream.receive_all())
                assert len(received) < max(int(length), 1)
                await client.ping()
