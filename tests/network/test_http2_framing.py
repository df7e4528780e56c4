"""Each rule about frames and streams of HTTP/2 (RFC 9113), broken over a real socket."""

from typing import Final

import pytest

from cmux_proxy import Timeouts
from cmux_proxy.http2.error_codes import (
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    PROTOCOL_ERROR,
    STREAM_CLOSED,
)
from cmux_proxy.http2.frame_types import PREFACE
from tests.helpers.http2_cases import (
    IGNORED,
    ROUTED,
    Case,
    Ends,
    Outcome,
    Resets,
    play,
    raw_stage,
    request,
)
from tests.helpers.http2_frames import frame, number, plain_block
from tests.helpers.proxies import local_config
from tests.helpers.timing import soon

BLOCK: Final = plain_block(ROUTED)
BAD: Final = [(b":bad", b"")]
PRIORITY: Final = number(3) + b"\x10"
MAX: Final = 0x7FFFFFFF


def setting(key: int, value: int) -> bytes:
    """Return a SETTINGS frame with one setting."""
    return frame(4, 0, 0, bytes([0, key]) + number(value))


def protocol(rule: str) -> Outcome:
    """Return the end of a connection by PROTOCOL_ERROR."""
    return Ends(PROTOCOL_ERROR, rule)


def size(rule: str) -> Outcome:
    """Return the end of a connection by FRAME_SIZE_ERROR."""
    return Ends(FRAME_SIZE_ERROR, rule)


IDLE = "is on a stream that was not opened"
INTERRUPTED = "a header block is interrupted by another frame"
PADDING = "the padding is larger than the frame"
LARGE = "a frame is larger than it may be"
SELF = "a stream depends on itself"
CLOSED = "HEADERS is on a stream that was closed"
OF_CONNECTION = "a frame of the connection is on a stream"
GROWS = "a window grows too large"
BEGUN: Final = request(3, ROUTED, 1)

CASES: Final = [
    # 4.1, 5.5: what is not known is ignored
    Case("unknown-type", "fresh", frame(0x16, 0xFF, 0, b"12345678"), IGNORED),
    Case("unknown-type-on-a-stream", "open", frame(0xFE, 0xFF, 1, b"12345678"), IGNORED),
    Case("unknown-type-on-an-idle-stream", "fresh", frame(0xFE, 0, 99, b"x"), IGNORED),
    Case("undefined-flags", "fresh", frame(8, 0xFF, 0, number(1)), IGNORED),
    Case("reserved-bit", "fresh", frame(8, 0, 0x80000000, number(1)), IGNORED),
    Case("unknown-type-in-a-block", "fresh", BEGUN + frame(0x16, 0, 0), protocol(INTERRUPTED)),
    # 4.2: sizes
    Case("large-data", "open", frame(0, 0, 1, bytes(16_385)), size(LARGE)),
    Case("large-headers", "fresh", frame(1, 4, 1, bytes(16_385)), size(LARGE)),
    Case("large-unknown", "fresh", frame(0x16, 0, 0, bytes(16_385)), size(LARGE)),
    Case("largest-length", "fresh", b"\xff\xff\xff\0\0\0\0\0\1", size(LARGE)),
    Case("large-continuation", "fresh", BEGUN + frame(9, 4, 3, bytes(16_385)), size(LARGE)),
    # 4.3, 6.2, 6.10: header blocks are in one piece
    Case("priority-in-a-block", "fresh", BEGUN + frame(2, 0, 3, PRIORITY), protocol(INTERRUPTED)),
    Case("headers-in-a-block", "fresh", BEGUN + request(5), protocol(INTERRUPTED)),
    Case("same-headers-in-a-block", "fresh", BEGUN + request(3), protocol(INTERRUPTED)),
    Case("data-in-a-block", "fresh", BEGUN + frame(0, 1, 3, b"x"), protocol(INTERRUPTED)),
    Case("settings-in-a-block", "fresh", BEGUN + frame(4, 0, 0), protocol(INTERRUPTED)),
    Case("ping-in-a-block", "fresh", BEGUN + frame(6, 0, 0, bytes(8)), protocol(INTERRUPTED)),
    Case("reset-in-a-block", "fresh", BEGUN + frame(3, 0, 3, number(8)), protocol(INTERRUPTED)),
    Case("window-in-a-block", "fresh", BEGUN + frame(8, 0, 0, number(1)), protocol(INTERRUPTED)),
    Case("other-continuation", "fresh", BEGUN + frame(9, 4, 5, BLOCK), protocol(INTERRUPTED)),
    Case("continuation-on-0", "fresh", BEGUN + frame(9, 4, 0, BLOCK), protocol(INTERRUPTED)),
    Case(
        "continuation-alone", "fresh", frame(9, 4, 1, BLOCK),
        protocol("CONTINUATION is not behind HEADERS"),
    ),
    Case(
        "continuation-behind-a-whole-block", "open", frame(9, 4, 1),
        protocol("CONTINUATION is not behind HEADERS"),
    ),
    Case(
        "continuation-behind-the-last-one", "open",
        request(3, BAD, 1) + frame(9, 4, 3) + frame(9, 4, 3),
        protocol("CONTINUATION is not behind HEADERS"),
    ),
    Case(
        "continuation-behind-data", "open", frame(0, 0, 1) + frame(9, 4, 1),
        protocol("CONTINUATION is not behind HEADERS"),
    ),
    # 5.1: frames on idle streams
    Case("data-on-idle", "fresh", frame(0, 1, 1, b"x"), protocol(f"DATA {IDLE}")),
    Case("reset-on-idle", "fresh", frame(3, 0, 1, number(8)), protocol(f"RST_STREAM {IDLE}")),
    Case("window-on-idle", "fresh", frame(8, 0, 1, number(1)), protocol(f"WINDOW_UPDATE {IDLE}")),
    Case(
        "data-on-an-even-stream", "fresh", request(5, BAD) + frame(0, 1, 2, b"x"),
        protocol(f"DATA {IDLE}"),
    ),
    Case("priority-on-idle", "fresh", frame(2, 0, 9, PRIORITY), IGNORED),
    # 5.1: half-closed, closed
    Case("data-on-half-closed", "half", frame(0, 0, 1, b"x"), Resets(STREAM_CLOSED)),
    Case("headers-on-half-closed", "half", request(1), Resets(STREAM_CLOSED)),
    Case("window-on-half-closed", "half", frame(8, 0, 1, number(1)), IGNORED),
    Case("priority-on-half-closed", "half", frame(2, 0, 1, PRIORITY), IGNORED),
    Case("data-on-closed", "closed", frame(0, 0, 1, b"x"), Resets(STREAM_CLOSED)),
    Case("headers-on-closed", "closed", request(1), Ends(STREAM_CLOSED, CLOSED)),
    Case(
        "continuation-on-closed", "closed", frame(9, 4, 1),
        protocol("CONTINUATION is not behind HEADERS"),
    ),
    Case("window-on-closed", "closed", frame(8, 0, 1, number(1)), IGNORED),
    Case("reset-on-closed", "closed", frame(3, 0, 1, number(8)), IGNORED),
    Case("priority-on-closed", "closed", frame(2, 0, 1, PRIORITY), IGNORED),
    Case("data-behind-a-reset", "gone", frame(0, 0, 1, b"x"), Resets(STREAM_CLOSED)),
    Case("headers-behind-a-reset", "gone", request(1), Ends(STREAM_CLOSED, CLOSED)),
    # What may have been in flight when the proxy's reset came.
    Case("data-on-dropped", "dropped", frame(0, 0, 1, b"x"), IGNORED),
    Case("headers-on-dropped", "dropped", request(1), IGNORED),
    Case("window-on-dropped", "dropped", frame(8, 0, 1, number(1)), IGNORED),
    Case("reset-on-dropped", "dropped", frame(3, 0, 1, number(8)), IGNORED),
    # 5.1.1: identifiers
    Case(
        "even-stream", "fresh", request(2),
        protocol("a client opens a stream with an even number"),
    ),
    Case(
        "lower-stream", "fresh", request(5, BAD) + request(3),
        protocol("a stream has a lower number than one before it"),
    ),
    # 5.3.1
    Case(
        "headers-depend-on-themselves", "fresh", frame(1, 0x25, 1, number(1) + b"\x10" + BLOCK),
        protocol(SELF),
    ),
    Case(
        "priority-depends-on-itself", "fresh", frame(2, 0, 1, number(1) + b"\x10"),
        protocol(SELF),
    ),
    # 6.1
    Case("data-on-0", "fresh", frame(0, 0, 0, b"x"), protocol("DATA is on stream 0")),
    Case("data-too-much-padding", "open", frame(0, 9, 1, b"\x06test\0"), protocol(PADDING)),
    Case("data-without-padding-length", "open", frame(0, 9, 1), size("DATA is too short")),
    # 6.2
    Case("headers-on-0", "fresh", frame(1, 5, 0, BLOCK), protocol("HEADERS is on stream 0")),
    Case("headers-padding", "fresh", frame(1, 13, 1, b"\xf0" + BLOCK), protocol(PADDING)),
    Case("headers-without-padding-length", "fresh", frame(1, 13, 1), size("HEADERS is too short")),
    Case(
        "headers-short-priority", "fresh", frame(1, 0x25, 1, b"abcd"),
        size("HEADERS is too short"),
    ),
    # 6.3
    Case("priority-on-0", "fresh", frame(2, 0, 0, PRIORITY), protocol("PRIORITY is on stream 0")),
    Case("priority-size", "open", frame(2, 0, 1, b"abcd"), Resets(FRAME_SIZE_ERROR)),
    Case(
        "priority-size-on-idle", "fresh", frame(2, 0, 1, b"abcd"), size("PRIORITY has a wrong size")
    ),
    # 6.4
    Case("reset-on-0", "fresh", frame(3, 0, 0, number(8)), protocol("RST_STREAM is on stream 0")),
    Case("reset-size", "open", frame(3, 0, 1, b"abc"), size("RST_STREAM has a wrong size")),
    # 6.5
    Case(
        "settings-ack-with-payload", "fresh", frame(4, 1, 0, bytes(6)),
        size("SETTINGS has a wrong size"),
    ),
    Case("settings-size", "fresh", frame(4, 0, 0, b"abc"), size("SETTINGS has a wrong size")),
    Case("settings-on-a-stream", "open", frame(4, 0, 1), protocol(OF_CONNECTION)),
    Case("enable-push", "fresh", setting(2, 2), protocol("a setting is neither 0 nor 1")),
    Case("connect-protocol", "fresh", setting(8, 2), protocol("a setting is neither 0 nor 1")),
    Case("no-priorities", "fresh", setting(9, 2), protocol("a setting is neither 0 nor 1")),
    Case(
        "initial-window", "fresh", setting(4, MAX + 1),
        Ends(FLOW_CONTROL_ERROR, "the initial window is too large"),
    ),
    Case(
        "small-frame-size", "fresh", setting(5, 16_383),
        protocol("the maximum frame size is out of range"),
    ),
    Case(
        "large-frame-size", "fresh", setting(5, 16_777_216),
        protocol("the maximum frame size is out of range"),
    ),
    Case("unknown-setting", "fresh", setting(0xFF, 1), IGNORED),
    Case("settings-ack", "fresh", frame(4, 1, 0), IGNORED),
    # 6.6
    Case(
        "push-promise", "fresh", frame(5, 4, 1, number(2) + BLOCK),
        protocol("PUSH_PROMISE is not allowed here"),
    ),
    Case(
        "push-promise-on-a-stream", "open", frame(5, 4, 1, number(2)),
        protocol("PUSH_PROMISE is not allowed here"),
    ),
    # 6.7
    Case("ping-ack", "fresh", frame(6, 1, 0, b"unasked!"), IGNORED),
    Case("ping-on-a-stream", "open", frame(6, 0, 1, bytes(8)), protocol(OF_CONNECTION)),
    Case("ping-size", "fresh", frame(6, 0, 0, bytes(7)), size("PING has a wrong size")),
    # 6.8, 7
    Case("goaway-on-a-stream", "open", frame(7, 0, 1, bytes(8)), protocol(OF_CONNECTION)),
    Case("goaway-size", "fresh", frame(7, 0, 0, bytes(7)), size("GOAWAY is too short")),
    Case("goaway-unknown-code", "fresh", frame(7, 0, 0, number(0) + number(0xFF)), IGNORED),
    # 6.9
    Case("no-increment", "fresh", frame(8, 0, 0, number(0)), protocol("a window is updated by 0")),
    Case("no-increment-of-a-stream", "open", frame(8, 0, 1, number(0)), Resets(PROTOCOL_ERROR)),
    Case("window-size", "fresh", frame(8, 0, 0, b"abc"), size("WINDOW_UPDATE has a wrong size")),
    Case("window-overflow", "fresh", frame(8, 0, 0, number(MAX)), Ends(FLOW_CONTROL_ERROR, GROWS)),
    Case(
        "window-overflow-of-a-stream", "open", frame(8, 0, 1, number(MAX)),
        Resets(FLOW_CONTROL_ERROR),
    ),
    Case(
        "window-overflow-by-settings", "open", frame(8, 0, 1, number(1)) + setting(4, MAX),
        Ends(FLOW_CONTROL_ERROR, GROWS),
    ),
    Case("window-that-is-negative", "open", setting(4, 0), IGNORED),
    # 8.1
    Case("headers-without-an-end", "open", request(1, [(b"a", b"b")], 4), Resets(PROTOCOL_ERROR)),
]  # fmt: skip


@pytest.mark.parametrize("first", [frame(6, 0, 0, bytes(8)), frame(1, 5, 1, BLOCK), b"\x00" * 9])
async def test_the_first_frame_is_settings(first: bytes) -> None:
    async with raw_stage() as on:
        with await on.client(greets=False) as client:
            await client.send(PREFACE + on.routed(first))
            last, code, reason = await client.goaway()
            assert (last, code, reason) == (0, PROTOCOL_ERROR, "the first frame is not SETTINGS")
            assert await client.end() == []
        await on.gets_nothing_before_the_next()


@pytest.mark.parametrize("at", range(4, len(PREFACE), 5))
async def test_a_wrong_preface_is_answered_in_the_protocol_that_it_began(at: int) -> None:
    async with raw_stage() as on:
        with await on.client(greets=False) as client:
            wrong = PREFACE[:at] + b"?" + PREFACE[at + 1 :]
            await client.send(wrong + frame(4, 0, 0) + on.routed(request(1)))
            if at < 18:
                assert (await soon(client.wire.receive())).startswith(b"HTTP/1.1 ")
            else:
                last, code, _reason = await client.goaway()
                assert (last, code) == (0, PROTOCOL_ERROR)
        await on.gets_nothing_before_the_next()


@pytest.mark.parametrize("size", [1, 15, 16, len(PREFACE)])
async def test_a_part_of_the_preface_ends_with_the_head_timeout(size: int) -> None:
    async with raw_stage(local_config(timeouts=Timeouts(head=0.2))) as on:
        with await on.client(greets=False) as client:
            await client.send(PREFACE[:size])
            if size < 16:
                assert (await soon(client.wire.receive())).startswith(b"HTTP/1.1 408 ")
            else:
                assert (await client.goaway())[:2] == (0, ENHANCE_YOUR_CALM)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
async def test_a_rule(case: Case) -> None:
    await play(case)
