"""How long an HTTP/2 client may take, and who is asked whether it is there; without a clock."""

import pytest

from cmux_proxy import Config, Timeouts
from cmux_proxy.downstream.http2_connection import PING_INTERVAL, PING_TIMEOUT
from cmux_proxy.http2.error_codes import CANCEL, ENHANCE_YOUR_CALM, NO_ERROR, REFUSED_STREAM
from cmux_proxy.http2.frame_types import PREFACE
from cmux_proxy.http2.http2_limits import MAX_UNTAKEN
from tests.helpers.http2_frames import (
    GET,
    POST,
    frame,
    number,
    plain_block,
    window_setting,
)
from tests.helpers.http2_site import (
    GREETING,
    ROUTE,
    Http2Site,
    data_of,
    goaways,
    headers,
    resets,
)
from tests.helpers.script import head

LATE = b"a frame or a header block takes too long"
OK = head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"
TIMES = Config(timeouts=Timeouts(head=10, idle=60, body=20, response=25, response_idle=40))
PING = frame(6, 0, 0, b"12345678")
BLOCK = plain_block([*GET, ROUTE])

# What a client may begin and not complete: frames, and a header block of several frames.
PARTS = {
    "frame header": PING[:8],
    "ping": PING[:12],
    "data": frame(0, 0, 1, b"abcdefghijkl")[:-1],
    "headers": headers(3)[:30],
    "block": frame(1, 1, 3, BLOCK[:20]),
    "empty block": frame(1, 1, 3),
    "continuation": frame(1, 1, 3, BLOCK[:9]) + frame(9, 0, 3, BLOCK[9:20]),
    "unknown frame": frame(99, 0, 0, bytes(100))[:-1],
}


@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
@pytest.mark.parametrize("has_stream", [True, False], ids=["stream", "no-stream"])
def test_each_byte_does_not_give_a_frame_more_time(part: bytes, has_stream: bool) -> None:
    site = Http2Site(TIMES)
    if has_stream:
        site.post(1)
    site.frames()
    share = 9.9 / len(part)
    for at in range(len(part)):
        site.sends(part[at : at + 1])
        site.walk(share)
    assert goaways(site.frames()) == []
    site.walk(0.2)
    assert goaways(site.frames()) == [(1 if has_stream else 0, ENHANCE_YOUR_CALM, LATE)]
    assert site.client.has_sent_end()


@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
def test_a_part_that_becomes_whole_in_time_is_followed_by_others(part: bytes) -> None:
    site = Http2Site(Config(timeouts=Timeouts(head=10, body=None)))
    site.post(1)
    # Each read completes a frame and begins another: none of them is late.
    site.sends(PING[:5])
    for _ in range(10):
        site.walk(9.0)
        site.sends(PING[5:] + PING[:5])
    site.sends(PING[5:] + part)
    site.walk(9.0)
    frames = site.frames()
    assert sum(each.kind == 6 for each in frames) == 11
    assert goaways(frames) == []


def test_a_block_begins_with_its_headers_frame() -> None:
    site = Http2Site(TIMES)
    site.sends(frame(1, 1, 1, BLOCK[:5]))
    for at in range(5, 12):
        site.walk(1.4)
        # Whole frames do not help.
        site.sends(frame(9, 0, 1, BLOCK[at : at + 1]))
    site.walk(0.3)
    assert goaways(site.frames()) == [(0, ENHANCE_YOUR_CALM, LATE)]
    assert site.world.dials == []


def test_a_second_block_has_its_own_time() -> None:
    site = Http2Site(TIMES)
    site.sends(frame(1, 0, 1, plain_block([*POST, ROUTE])))
    site.walk(9.0)
    # The block ends, and that of its trailers begins in the same read.
    site.sends(frame(9, 4, 1) + frame(1, 1, 1, b""))
    site.walk(9.0)
    assert goaways(site.frames()) == []
    site.walk(1.5)
    assert goaways(site.frames())[0][1:] == (ENHANCE_YOUR_CALM, LATE)


def test_the_preface_has_the_head_timeout_from_its_first_byte() -> None:
    site = Http2Site(TIMES, greets=False)
    for byte in GREETING[:-1]:
        site.sends(bytes([byte]))
        site.walk(9.9 / len(GREETING))
    assert goaways(site.frames()) == []
    site.walk(0.9)
    assert goaways(site.frames()) == [(0, ENHANCE_YOUR_CALM, LATE)]


@pytest.mark.parametrize("size", range(1, len(PREFACE)))
def test_a_part_of_the_preface_ends_with_the_head_timeout(size: int) -> None:
    site = Http2Site(TIMES, greets=False)
    site.sends(PREFACE[:size])
    site.walk(9.9)
    assert not site.client.has_sent_end()
    site.walk(0.2)
    assert site.client.has_sent_end()
    # HTTP/1 refuses what is no version of it.
    is_http2 = size >= 16
    assert site.client.got.startswith(b"HTTP/1.1 408 ") == (not is_http2)
    assert bool(is_http2 and goaways(site.frames())) == is_http2


def test_the_first_settings_belong_to_the_preface() -> None:
    site = Http2Site(TIMES, greets=False)
    site.sends(PREFACE)
    site.walk(9.9)
    assert goaways(site.frames()) == []
    site.walk(0.2)
    assert goaways(site.frames()) == [(0, ENHANCE_YOUR_CALM, LATE)]


def test_a_connection_without_streams_ends_with_the_idle_timeout() -> None:
    site = Http2Site(TIMES)
    site.walk(59.9)
    assert site.frames() == []
    site.walk(0.2)
    assert goaways(site.frames()) == [(0, NO_ERROR, b"")]
    assert site.client.is_over()


def test_only_requests_restart_the_idle_timeout() -> None:
    site = Http2Site(TIMES)
    site.walk(59.0)
    upstream = site.ask(1)
    site.walk(24.0)
    site.arrives(upstream, OK)
    site.frames()
    for _ in range(5):
        site.walk(11.9)
        site.sends(PING)
    assert goaways(site.frames()) == []
    site.walk(0.6)
    assert goaways(site.frames()) == [(1, NO_ERROR, b"")]


def test_a_silent_client_with_streams_is_asked_and_then_aborted() -> None:
    site = Http2Site(Config())
    upstream = site.ask(1)
    site.frames()
    site.walk(PING_INTERVAL - 0.1)
    assert site.frames() == []
    site.walk(0.2)
    assert [(each.kind, each.flags) for each in site.frames()] == [(6, 0)]
    site.walk(PING_TIMEOUT - 0.1)
    assert not site.client.was_aborted()
    site.walk(0.2)
    assert site.client.was_aborted()
    site.run()
    assert upstream.is_over()
    assert (PING_INTERVAL, PING_TIMEOUT) == (30.0, 10.0)


def test_any_byte_answers_the_question() -> None:
    site = Http2Site(Config(timeouts=Timeouts(head=None)))
    site.ask(1)
    for sign in (frame(6, 1, 0, b"cmux-pxy"), frame(8, 0, 0, number(1)), b"\0"):
        site.walk(PING_INTERVAL)
        site.sends(sign)
        site.walk(PING_TIMEOUT + 1)
        assert not site.client.was_aborted()
        assert [each.kind for each in site.frames() if each.kind == 6] == [6]


def test_a_client_that_reads_slowly_is_there() -> None:
    site = Http2Site(Config())
    upstream = site.ask(1)
    site.client.stops_reading()
    site.arrives(upstream, head("HTTP/1.1 200 OK", "Content-Length: 60000") + bytes(50_000))
    site.walk(PING_INTERVAL)
    for _ in range(5):
        site.client.reads_a_little()
        site.walk(PING_TIMEOUT)
        assert not site.client.was_aborted()
    site.walk(PING_TIMEOUT)
    assert site.client.was_aborted()


def test_a_client_that_reads_again_has_more_time_to_answer() -> None:
    site = Http2Site(Config())
    upstream = site.ask(1)
    site.client.stops_reading()
    site.arrives(upstream, head("HTTP/1.1 200 OK", "Content-Length: 60000") + bytes(50_000))
    site.walk(PING_INTERVAL)
    site.walk(PING_TIMEOUT - 1)
    site.client.reads_again()
    site.client.stops_reading()
    site.walk(PING_TIMEOUT - 1)
    assert not site.client.was_aborted()


def test_a_connection_that_closes_waits_for_its_client_as_long_as_for_requests() -> None:
    site = Http2Site(TIMES)
    upstream = site.ask(1)
    site.client.stops_reading()
    site.arrives(upstream, OK)
    site.walk(60.5)
    assert site.client.is_over()
    site.walk(59.0)
    assert not site.client.was_aborted()
    site.walk(1.5)
    assert site.client.was_aborted()


def test_a_body_without_progress_gets_a_408_and_other_streams_go_on() -> None:
    site = Http2Site(TIMES)
    upstream = site.post(1)
    site.sends(frame(0, 0, 1, b"a"))
    site.walk(19.0)
    site.sends(frame(0, 0, 1, b"b"))
    site.walk(19.0)
    other = site.ask(3)
    site.frames()
    site.walk(1.5)
    frames = site.frames()
    assert data_of(frames, 1) == b"the request body did not arrive in time\n"
    assert resets(frames) == [(1, NO_ERROR)]
    assert upstream.is_over()
    site.arrives(other, OK)
    assert data_of(site.frames(), 3) == b"ok"


def test_a_response_that_does_not_begin_gets_a_504() -> None:
    site = Http2Site(TIMES)
    upstream = site.ask(1)
    site.frames()
    site.walk(25.5)
    assert data_of(site.frames(), 1) == b"127.0.0.1:80 did not answer in time\n"
    assert upstream.is_over()


def test_windows_that_stay_closed_end_a_response_with_its_idle_timeout() -> None:
    site = Http2Site(TIMES)
    site.sends(window_setting(0))
    upstream = site.ask(1)
    site.arrives(upstream, head("HTTP/1.1 200 OK", "Content-Length: 9") + b"abc")
    assert not upstream.is_reading()
    for _ in range(3):
        site.walk(15.0)
        site.sends(PING)
    assert resets(site.frames()) == [(1, 2)]
    assert upstream.is_over()


def stays(site: Http2Site, seconds: float) -> None:
    """Let time pass with a sign of life every second."""
    for _ in range(int(seconds)):
        site.walk(1.0)
        site.sends(frame(6, 1, 0, bytes(8)))


def test_a_whole_response_waits_for_its_window_as_long_as_a_connection_may_be_idle() -> None:
    site = Http2Site(TIMES)
    site.sends(window_setting(0))
    upstream = site.ask(1)
    site.arrives(upstream, OK)
    stays(site, 59.0)
    # A byte of room is progress.
    site.sends(frame(8, 0, 1, number(1)))
    stays(site, 60.0)
    frames = site.frames()
    assert (data_of(frames, 1), resets(frames)) == (b"o", [])
    stays(site, 61.0)
    assert resets(site.frames()) == [(1, CANCEL)]
    assert len(site.world.services.registry.streams) == 0


def test_a_client_that_does_not_read_gets_no_queue_of_answers() -> None:
    site = Http2Site(Config())
    site.client.stops_reading()
    site.ask(1)
    for _ in range(4000):
        if not site.client.is_reading():
            break
        site.sends((PING + frame(4, 0, 0)) * 16)
        site.walk(1.0)
    assert not site.client.is_reading()
    # What was written at once, and nothing since.
    assert len(site.client.held) < 2 * MAX_UNTAKEN


def test_responses_without_bodies_do_not_pile_up_for_a_client_that_does_not_read() -> None:
    site = Http2Site(Config())
    site.client.stops_reading()
    stream_id = 1
    while site.client.is_reading() and stream_id < 40_001:
        # A 400 without a body, because no routing field is there.
        request = plain_block([(b":method", b"HEAD"), *GET[1:]])
        site.sends(frame(1, 5, stream_id, request))
        stream_id += 2
    assert not site.client.is_reading()
    assert len(site.client.held) < 2 * MAX_UNTAKEN
    site.client.reads_again()
    site.run()
    assert site.client.is_reading()
    frames = site.frames()
    # A stream is open until its last frame is written; 100 may be.
    assert len([each for each in frames if each.kind == 1]) == 101
    assert {code for _stream, code in resets(frames)} == {REFUSED_STREAM}
