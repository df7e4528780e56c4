"""Attacks on HTTP/2 over real sockets: each ends with its code, and costs little."""

import asyncio
import contextlib
import tracemalloc
from typing import Final

import pytest

from cmux_proxy import Timeouts
from cmux_proxy.http2.error_codes import (
    CANCEL,
    COMPRESSION_ERROR,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    INTERNAL_ERROR,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
)
from cmux_proxy.http2.frame_types import RST_STREAM
from cmux_proxy.http2.http2_limits import CONTROL_BURST, RESET_BURST
from tests.helpers.http2_cases import (
    OK,
    ROUTE,
    ROUTED,
    ROUTED_POST,
    Case,
    Ends,
    RawStage,
    play,
    raw_stage,
    request,
    ways,
)
from tests.helpers.http2_frames import (
    PROVOKING,
    content,
    frame,
    number,
    on_stream,
    plain_block,
    window_setting,
)
from tests.helpers.http2_wire import Http2Wire
from tests.helpers.proxies import local_config, proxy_process
from tests.helpers.script import head
from tests.helpers.timing import later, soon
from tests.helpers.wire import Wire, WireListener, deaf_port

# More than the budgets allow even while a slow machine reads them.
MANY_RESETS: Final = 2 * RESET_BURST
MANY_CONTROLS: Final = CONTROL_BURST + 400
RESETS: Final = "too many streams are reset"
CONTROLS: Final = "too many frames without a purpose"
BOMB: Final = "a header list is far too large"
FRAMES: Final = "a header block has too many frames"
LARGE: Final = "a header block is too large"
BEGUN: Final = frame(1, 1, 3, plain_block(ROUTED))


async def is_refused(client: Http2Wire, rule: str) -> int:
    """Check that the connection ends as that of an attacker; return its last stream."""
    last, code, reason = await later(client.goaway())
    assert (code, reason) == (ENHANCE_YOUR_CALM, rule)
    assert await client.end() == []
    return last


def check_resets(client: Http2Wire, code: int) -> None:
    """Check that streams were reset until the budget was used up, each once and with this code."""
    resets = [each for each in client.received if each.kind == RST_STREAM]
    assert len(resets) >= RESET_BURST
    assert len({each.stream_id for each in resets}) == len(resets)
    assert {each.payload for each in resets} == {number(code)}


# CVE-2023-44487, CVE-2025-8671


async def test_rapid_resets_end_the_connection_and_hardly_any_gets_through(loop_name: str) -> None:
    listener = WireListener()
    async with proxy_process(loop_name) as proxy:
        with contextlib.closing(listener):
            on = RawStage(proxy, listener)
            with await on.client() as client:
                block = on.routed(plain_block(ROUTED))
                data = b"".join(
                    frame(1, 5, stream_id, block) + frame(3, 0, stream_id, number(CANCEL))
                    for stream_id in range(1, 2 * MANY_RESETS, 2)
                )
                sending = asyncio.get_running_loop().create_task(client.wire.send(data))
                assert await is_refused(client, RESETS) > 2 * RESET_BURST
                await asyncio.gather(sending, return_exceptions=True)
            # A request is a good one until its reset is read: each read may end between the two.
            assert await requests_before_the_next(on) < MANY_RESETS // 50
            await proxy.stop()


async def requests_before_the_next(on: RawStage) -> int:
    """Send one more request; return how many have reached the service before it."""
    count = 0
    with await Wire.to("127.0.0.1", on.port) as client:
        line = f"X-Cmux-Port-Internal: {on.listener.port}"
        await client.send(head("GET /sentinel HTTP/1.1", "Host: a", line))
        while True:
            with await soon(on.listener.accept()) as upstream:
                received = await soon(upstream.receive())
            if received.startswith(b"GET /sentinel "):
                return count
            count += bool(received)


async def test_resets_that_a_client_provokes_have_the_same_budget() -> None:
    async with raw_stage() as on:
        with await on.client() as client:
            # Malformed requests are cheap, and are reset as well.
            bad = frame(1, 5, 1, plain_block([(b":bad", b"")]))
            data = b"".join(on_stream(stream_id, bad) for stream_id in range(1, 2 * MANY_RESETS, 2))
            sending = asyncio.get_running_loop().create_task(client.wire.send(data))
            assert await is_refused(client, RESETS) > 2 * RESET_BURST
            await asyncio.gather(sending, return_exceptions=True)
            check_resets(client, PROTOCOL_ERROR)
        await on.gets_nothing_before_the_next()


@pytest.mark.parametrize(("provoking", "code"), PROVOKING.values(), ids=PROVOKING)
async def test_resets_of_good_requests_that_a_client_provokes_have_it_too(
    provoking: bytes, code: int
) -> None:
    async with raw_stage() as on:
        with await on.client() as client:
            block = on.routed(plain_block(ROUTED_POST))
            data = b"".join(
                frame(1, 4, stream_id, block) + on_stream(stream_id, provoking)
                for stream_id in range(1, 2 * MANY_RESETS, 2)
            )
            sending = asyncio.get_running_loop().create_task(client.wire.send(data))
            assert await is_refused(client, RESETS) > 2 * RESET_BURST
            await asyncio.gather(sending, return_exceptions=True)
            check_resets(client, code)
        assert await requests_before_the_next(on) < MANY_RESETS // 50


# CVE-2026-49975: header bombs; each byte stands for a field of the table

REFERENCES: Final = {
    "large-fields": (b"\x40\x01x\x7f\xbd\x1d" + b"v" * 3900, 16_000),
    "small-fields": (b"\x40\x01x\x00", 16_000),
    "cookie-crumbs": (b"\x40\x06cookie\x00", 16_000),
    "empty-names": (b"\x40\x00\x00", 16_000),
}


@pytest.mark.parametrize(("entry", "count"), REFERENCES.values(), ids=REFERENCES)
async def test_a_header_bomb_ends_the_connection_and_takes_little_memory(
    entry: bytes, count: int
) -> None:
    bomb = plain_block(ROUTED) + entry + b"\xbe" * (count - len(entry) - 200)
    async with raw_stage() as on:
        data = on.routed(frame(1, 5, 1, bomb))
        with await on.client() as client:
            await client.ping()
            tracemalloc.start()
            try:
                await client.send(data)
                await is_refused(client, BOMB)
                _now, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            assert peak < 2 * 1024 * 1024
        await on.gets_nothing_before_the_next()


# CVE-2024-27316 and others: floods of frames

FLOODS: Final = {
    "continuations": ("fresh", BEGUN + frame(9, 0, 3, b"\x00") * 9, FRAMES),
    "empty-continuations": ("fresh", BEGUN + frame(9, 0, 3) * 9, FRAMES),
    "large-continuations": ("fresh", BEGUN + frame(9, 0, 3, bytes(16_384)) * 4, LARGE),
    "settings": ("fresh", frame(4, 0, 0) * MANY_CONTROLS, CONTROLS),
    "settings-of-many-values": (
        "fresh", frame(4, 0, 0, (b"\0\4" + number(1)) * 20) * MANY_CONTROLS, CONTROLS
    ),
    "pings": ("fresh", frame(6, 0, 0, bytes(8)) * MANY_CONTROLS, CONTROLS),
    "empty-data": ("open", frame(0, 0, 1) * MANY_CONTROLS, CONTROLS),
    "padding-alone": ("open", frame(0, 8, 1, b"\x05" + bytes(5)) * MANY_CONTROLS, CONTROLS),
    "all-of-these": (
        "open",
        (frame(4, 0, 0) + frame(6, 0, 0, bytes(8)) + frame(0, 0, 1)) * (MANY_CONTROLS // 3),
        CONTROLS,
    ),
    "empty-data-on-dropped": ("dropped", frame(0, 0, 1) * MANY_CONTROLS, CONTROLS),
}  # fmt: skip


@pytest.mark.parametrize(("state", "data", "rule"), FLOODS.values(), ids=FLOODS)
async def test_a_flood_ends_the_connection(state: str, data: bytes, rule: str) -> None:
    await play(Case("", state, data, Ends(ENHANCE_YOUR_CALM, rule)))


# Streams and windows


async def test_a_stream_too_many_is_refused_and_may_be_tried_again() -> None:
    async with raw_stage() as on:
        with await on.client() as client:
            await client.send(*(on.routed(request(stream_id)) for stream_id in range(1, 201, 2)))
            upstreams = [await on.accept() for _ in range(100)]
            await client.send(on.routed(request(201)))
            assert await client.reset() == (201, REFUSED_STREAM)
            with upstreams.pop() as upstream:
                await upstream.send(OK)
                assert (await client.until(0)).payload == b"ok"
            await client.send(on.routed(request(203)))
            with await on.accept() as upstream:
                await upstream.send(OK)
                assert (await client.until(0)).stream_id == 203
            for upstream in upstreams:
                upstream.close()


@pytest.mark.parametrize(
    ("block", "is_good"), [(b"\xff\xff\x01", False), (b"\x40\x01x\x01y", True)], ids=["bad", "good"]
)
async def test_the_block_of_a_stream_too_many_is_decoded(block: bytes, is_good: bool) -> None:
    async with raw_stage() as on:
        with await on.client() as client:
            await client.send(*(on.routed(request(stream_id)) for stream_id in range(1, 201, 2)))
            upstreams = [await on.accept() for _ in range(100)]
            await client.send(frame(1, 5, 201, plain_block(ROUTED) + block))
            if not is_good:
                assert (await client.goaway())[1] == COMPRESSION_ERROR
            else:
                assert await client.reset() == (201, REFUSED_STREAM)
                with upstreams.pop() as upstream:
                    await upstream.send(OK)
                    assert (await client.until(0)).payload == b"ok"
                # It refers to the field that the refused block has put into the table.
                await client.send(on.routed(frame(1, 5, 203, plain_block(ROUTED) + b"\xbe")))
                upstreams.append(await on.accept())
                assert upstreams[-1].received.endswith(b"\r\nx: y\r\n\r\n")
            for upstream in upstreams:
                upstream.close()


def post_to(port: int, stream_id: int) -> bytes:
    """Return the head of a request with a body."""
    fields = [*ROUTED_POST[:-1], (ROUTE[0], b"%d" % port)]
    return request(stream_id, fields, 4)


async def test_more_than_the_window_of_a_stream_resets_it() -> None:
    async with raw_stage() as on, deaf_port() as port:
        data = post_to(port, 1) + frame(0, 0, 1, bytes(16_384)) * 5
        for _name, pieces in ways(data):
            with await on.client() as client:
                await client.send(*pieces)
                assert await client.reset() == (1, FLOW_CONTROL_ERROR)
                await client.ping()


async def test_more_than_the_window_of_the_connection_ends_it() -> None:
    async with raw_stage() as on, deaf_port() as port:
        part = [(16_384, 3), (16_383, 1)]
        data = b"".join(
            post_to(port, stream_id)
            + b"".join(frame(0, 0, stream_id, bytes(size)) * count for size, count in part)
            for stream_id in range(1, 61, 2)
        )
        with await on.client() as client:
            sending = asyncio.get_running_loop().create_task(client.wire.send(data))
            _last, code, rule = await client.goaway()
            assert (code, rule) == (
                FLOW_CONTROL_ERROR, "DATA is larger than the window of the connection",
            )  # fmt: skip
            await asyncio.gather(sending, return_exceptions=True)
            assert await client.end() == []


async def test_no_window_is_given_for_what_is_not_consumed() -> None:
    async with raw_stage() as on, deaf_port() as port:
        with await on.client() as client:
            await client.ping()
            await client.send(post_to(port, 1) + frame(0, 0, 1, bytes(16_384)) * 3)
            assert [sent.kind for sent in await client.ping()] in ([], [8])


async def test_a_client_that_opens_no_window_does_not_stop_the_others() -> None:
    body = bytes(500_000)
    async with raw_stage() as on:
        with await on.client() as client:
            await client.send(window_setting(0))
            for stream_id in range(1, 41, 2):
                await client.send(on.routed(request(stream_id)))
            stalled = [await on.accept() for _ in range(20)]
            loop = asyncio.get_running_loop()
            start = head("HTTP/1.1 200 OK", f"Content-Length: {len(body)}")
            sending = [loop.create_task(upstream.send(start + body)) for upstream in stalled]
            await client.send(on.routed(request(41)) + frame(8, 0, 41, number(65_535)))
            frames = await on.answer(client, "/")
            assert content(frames, 41) == b"ok"
            assert {each.stream_id for each in frames if each.kind == 0} == {41}
            # They get on once their windows open.
            await client.send(frame(8, 0, 1, number(10)))
            assert len((await client.until(0)).payload) == 10
            for task in sending:
                task.cancel()
            await asyncio.gather(*sending, return_exceptions=True)
            for upstream in stalled:
                upstream.close()


async def test_windows_that_stay_closed_end_their_responses_and_drop_the_upstreams() -> None:
    async with raw_stage(local_config(timeouts=Timeouts(response_idle=0.2))) as on:
        with await on.client() as client:
            await client.send(window_setting(0))
            upstreams = []
            for stream_id in (1, 3, 5):
                await client.send(on.routed(request(stream_id)))
                upstreams.append(await on.accept())
                await upstreams[-1].send(head("HTTP/1.1 200 OK", "Content-Length: 9") + b"abc")
            assert {await client.reset() for _ in upstreams} == {
                (stream_id, INTERNAL_ERROR) for stream_id in (1, 3, 5)
            }
            for upstream in upstreams:
                with upstream:
                    assert await soon(upstream.receive()) == b""


async def test_many_settings_of_a_window_are_one_change() -> None:
    async with raw_stage() as on:
        with await on.client() as client:
            sizes = (0, 100, 1, 2)
            await client.send(frame(4, 0, 0, b"".join(b"\0\4" + number(each) for each in sizes)))
            await client.send(on.routed(request(1, ROUTED)))
            with await on.accept() as upstream:
                await upstream.send(head("HTTP/1.1 200 OK", "Content-Length: 4") + b"abcd")
                assert (await client.until(0)).payload == b"ab"
                # Negative, and up again (RFC 9113 section 6.9.2).
                await client.send(window_setting(0), frame(8, 0, 1, number(3)))
                assert (await client.until(0)).payload == b"c"
                await client.send(window_setting(1))
                last = await client.until(0)
                assert (last.payload, last.flags) == (b"d", 1)
