"""Which requests of HTTP/2 become which head of HTTP/1, and which get a response instead."""

from typing import Final

import hpack
import pytest

from cmux_proxy.http2.error_codes import PROTOCOL_ERROR
from tests.helpers.http2_cases import OK, ROUTED, raw_stage, request, ways
from tests.helpers.http2_frames import Fields, content, frame, plain_block
from tests.helpers.timing import soon
from tests.network.test_http2_fields import WEBSOCKET, replaced, without

BLOCK: Final = plain_block(ROUTED)


# What is not malformed, but gets a response (RFC 9113 section 8.3.1, RFC 9110 section 7.2).
ANSWERED: Final[dict[str, tuple[Fields, int, str]]] = {
    "other-host": ([*ROUTED, (b"host", b"b")], 400, "Host and :authority differ"),
    "other-port": ([*ROUTED, (b"host", b"a:80")], 400, "Host and :authority differ"),
    "empty-host": ([*ROUTED, (b"host", b"")], 400, "Host and :authority differ"),
    "two-hosts": ([*ROUTED, (b"host", b"a"), (b"host", b"a")], 400, "more than one Host"),
    "host-twice-alone": (
        [*without(b":authority"), (b"host", b"a"), (b"host", b"a")], 400, "more than one Host",
    ),
    "no-host": (without(b":authority"), 400, "Host"),
    "bad-authority": (replaced(b":authority", b"a:b:c"), 400, "Host"),
    "user-information": (replaced(b":authority", b"u@a"), 400, "Host"),
    "expectation": ([*ROUTED, (b"expect", b"200-ok")], 417, ""),
    "long-path": (replaced(b":path", b"/" + b"x" * 17_000), 414, ""),
    "large-section": ([*ROUTED, *[(b"a", b"a" * 1000)] * 70], 431, ""),
    "many-fields": ([*ROUTED, *[(b"a", b"")] * 300], 431, ""),
    "unknown-protocol": (replaced(b":protocol", b"connect-udp", WEBSOCKET), 501, ""),
}  # fmt: skip


def long_block(fields: Fields) -> bytes:
    """Return a block without tables, of values of any length."""
    return bytes(hpack.Encoder().encode(
        [hpack.NeverIndexedHeaderTuple(name, value) for name, value in fields]
    ))  # fmt: skip


def in_frames(stream_id: int, block: bytes) -> bytes:
    """Return a HEADERS frame and its CONTINUATION frames."""
    pieces = [block[at : at + 16_384] for at in range(0, len(block), 16_384)]
    frames = [frame(1 if at == 0 else 9, 0, stream_id, part) for at, part in enumerate(pieces)]
    frames[0] = frame(1, 1 | (len(pieces) == 1) * 4, stream_id, pieces[0])
    if len(pieces) > 1:
        frames[-1] = frame(9, 4, stream_id, pieces[-1])
    return b"".join(frames)


@pytest.mark.parametrize(("fields", "status", "reason"), ANSWERED.values(), ids=ANSWERED)
async def test_a_request_that_is_refused_gets_its_status(
    fields: Fields, status: int, reason: str
) -> None:
    async with raw_stage() as on:
        data = in_frames(1, long_block([(n, on.routed(v)) for n, v in fields]))
        for _name, pieces in ways(data):
            with await on.client() as client:
                await client.send(*pieces)
                answer = await client.until(1)
                fields_of = hpack.Decoder().decode(answer.payload, raw=True)
                assert bytes(dict(fields_of)[b":status"]) == b"%d" % status
                while not (await client.frame()).flags & 1:
                    pass
                assert reason.encode() in content(client.received, 1)
                await client.ping()
        await on.gets_nothing_before_the_next()


SENT: Final[dict[str, tuple[Fields, bytes]]] = {
    "host-alone": ([*without(b":authority"), (b"host", b"a")], b""),
    "host-equal": ([*ROUTED, (b"host", b"a")], b""),
    "host-equal-in-other-case": ([*ROUTED, (b"host", b"A")], b""),
    "crumbs": (
        [*ROUTED, (b"cookie", b"a=1"), (b"x", b"y"), (b"cookie", b"b=2")],
        b"x: y\r\ncookie: a=1; b=2\r\n",
    ),
    "field-order": ([*ROUTED, (b"b", b"1"), (b"a", b"2"), (b"b", b"")], b"b: 1\r\na: 2\r\nb: \r\n"),
    "empty-value": ([*ROUTED, (b"a", b"")], b"a: \r\n"),
    "bytes-of-a-value": ([*ROUTED, (b"a", b"x\t \x80\xff!")], b"a: x\t \x80\xff!\r\n"),
    "length-of-no-body": ([*ROUTED, (b"content-length", b"0")], b"content-length: 0\r\n"),
}  # fmt: skip


@pytest.mark.parametrize(("fields", "lines"), SENT.values(), ids=SENT)
async def test_a_good_request_becomes_one_head(fields: Fields, lines: bytes) -> None:
    async with raw_stage() as on:
        data = on.routed(request(1, fields))
        for _name, pieces in ways(data):
            with await on.client() as client:
                await client.send(*pieces)
                with await soon(on.listener.accept()) as upstream:
                    expected = b"GET / HTTP/1.1\r\nhost: a\r\n" + lines + b"\r\n"
                    while len(upstream.received) < len(expected):
                        assert await soon(upstream.receive())
                    assert bytes(upstream.received) == expected
                    await upstream.send(OK)
                    assert (await client.until(0)).payload == b"ok"


async def test_the_options_of_a_server_keep_their_target() -> None:
    fields = [(b":method", b"OPTIONS"), *ROUTED[1:3], (b":path", b"*"), *ROUTED[4:]]
    async with raw_stage() as on:
        with await on.client() as client:
            await client.send(on.routed(request(1, fields)))
            with await on.accept("*") as upstream:
                assert upstream.received.startswith(b"OPTIONS * HTTP/1.1\r\nhost: a\r\n")
                await upstream.send(OK)
                assert (await client.until(0)).payload == b"ok"


async def test_blocks_of_refused_streams_are_decoded() -> None:
    async with raw_stage() as on:
        with await on.client() as client:
            # A malformed request puts a field into the table; the next one refers to it.
            entry = b"\x40\x01x\x01y"
            await client.send(frame(1, 5, 1, entry))
            assert await client.reset() == (1, PROTOCOL_ERROR)
            await client.send(on.routed(frame(1, 5, 3, BLOCK + b"\xbe")))
            with await soon(on.listener.accept()) as upstream:
                assert (await soon(upstream.receive())).endswith(b"host: a\r\nx: y\r\n\r\n")
