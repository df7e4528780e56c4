"""How an HTTP/2 connection begins, fails and ends, and what its streams hold; without sockets."""

import pytest

from cmux_proxy.http2.error_codes import CANCEL, INTERNAL_ERROR, NO_ERROR, PROTOCOL_ERROR
from cmux_proxy.http2.frame_types import PREFACE
from cmux_proxy.observe.outcome import Outcome
from tests.helpers.fakes import FakeStream
from tests.helpers.http2_frames import POST, frame, number, window_setting
from tests.helpers.http2_site import (
    GREETING,
    Http2Site,
    data_of,
    goaways,
    headers,
    resets,
)
from tests.helpers.script import head

OK = head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"
WRONG = frame(0, 0, 0, b"x")
CONNECT = [(b":method", b"CONNECT"), (b":authority", b"a:1")]


@pytest.mark.parametrize("cut", range(len(GREETING)))
def test_a_preface_may_come_in_two_parts(cut: int) -> None:
    site = Http2Site(greets=False)
    site.sends(*filter(None, [GREETING[:cut], GREETING[cut:] + headers(1)]))
    upstream = site.world.dial().succeeds()
    site.arrives(upstream, OK)
    assert data_of(site.frames(), 1) == b"ok"


def test_a_preface_may_come_byte_by_byte() -> None:
    site = Http2Site(greets=False)
    site.sends(*(bytes([byte]) for byte in GREETING + headers(1)))
    upstream = site.world.dial().succeeds()
    site.arrives(upstream, OK)
    assert data_of(site.frames(), 1) == b"ok"


@pytest.mark.parametrize("at", range(len(PREFACE)))
@pytest.mark.parametrize("is_split", [False, True], ids=["whole", "split"])
def test_a_wrong_preface_is_not_one(at: int, is_split: bool) -> None:
    wrong = PREFACE[:at] + b"?" + PREFACE[at + 1 :]
    site = Http2Site(greets=False)
    site.sends(*([bytes([byte]) for byte in wrong] if is_split else [wrong]))
    if at < (16 if is_split else 18):
        assert site.client.got.startswith(b"HTTP/1.1 ")
    else:
        [(last, code, reason)] = goaways(site.frames())
        assert (last, code, reason) == (0, PROTOCOL_ERROR, b"the connection preface is wrong")
    assert site.client.has_sent_end()
    assert site.world.dials == []


def test_a_second_preface_on_a_connection_of_http_1_is_a_bad_request() -> None:
    site = Http2Site(greets=False)
    site.sends(head("GET / HTTP/1.1", "Host: a") + GREETING)
    assert site.client.got.count(b"HTTP/1.1 ") == 2
    assert site.client.has_sent_end()


# The end of the client


def test_a_client_that_ends_gets_the_responses_of_whole_requests_only() -> None:
    site = Http2Site()
    whole = site.ask(1)
    incomplete = site.post(3)
    tunnel = site.ask(5, CONNECT, False)
    site.client.ends()
    site.run()
    assert (incomplete.is_over(), tunnel.is_over(), whole.is_over()) == (True, True, False)
    site.arrives(whole, OK)
    assert data_of(site.frames(), 1) == b"ok"
    assert site.client.is_over()
    assert not site.client.was_aborted()


def test_a_client_that_ends_without_streams_is_closed_at_once() -> None:
    site = Http2Site()
    site.client.ends()
    site.run()
    assert site.client.is_lost()


def test_a_client_that_ends_in_the_middle_of_a_frame_is_closed_at_once() -> None:
    site = Http2Site()
    site.sends(headers(1)[:-1])
    site.client.ends()
    site.run()
    assert site.client.is_lost()


def test_a_client_that_ends_and_reads_later_gets_what_waits() -> None:
    site = Http2Site()
    upstream = site.ask(1)
    site.client.stops_reading()
    site.arrives(upstream, head("HTTP/1.1 200 OK", "Content-Length: 60000") + bytes(50_000))
    site.client.ends()
    site.run()
    site.arrives(upstream, bytes(10_000))
    assert not site.client.is_over()
    site.client.reads_again()
    site.run()
    assert len(data_of(site.frames(), 1)) == 60_000
    assert site.client.is_lost()


def test_a_client_that_ends_and_does_not_read_gets_an_answer_once_it_reads() -> None:
    site = Http2Site()
    upstream = site.ask(1)
    site.client.stops_reading()
    site.arrives(upstream, head("HTTP/1.1 200 OK", "Content-Length: 50000") + bytes(50_000))
    site.sends(frame(6, 0, 0, b"12345678"))
    site.client.ends()
    site.run()
    assert not site.client.is_over()
    site.client.reads_again()
    site.run()
    assert [each.payload for each in site.frames() if each.kind == 6] == [b"12345678"]
    assert site.client.is_lost()


# Faults


def test_a_fault_is_told_even_to_a_client_that_does_not_read() -> None:
    site = Http2Site()
    upstream = site.ask(1)
    site.frames()
    site.client.stops_reading()
    site.arrives(upstream, head("HTTP/1.1 200 OK", "Content-Length: 60000") + bytes(50_000))
    site.sends(WRONG)
    assert site.client.has_sent_end()
    site.client.reads_again()
    assert goaways(site.frames()) == [(1, PROTOCOL_ERROR, b"DATA is on stream 0")]


def test_frames_that_were_to_be_sent_later_do_not_end_a_connection_twice() -> None:
    site = Http2Site()
    first, second = site.ask(1), site.ask(3)
    # Two responses are under way, so that their frames wait for the turn of the loop.
    first.arrives(OK)
    second.arrives(OK)
    site.client.arrives(WRONG)
    site.run()
    registry = site.world.services.registry
    assert (len(registry.clients), len(registry.lingering)) == (0, 1)
    site.client.ends()
    site.run()
    assert (site.client.is_lost(), len(registry)) == (True, 0)


def test_exchanges_that_end_later_do_not_end_a_connection_twice() -> None:
    site = Http2Site()
    tunnel = site.ask(1, CONNECT, False)
    site.sends(WRONG)
    site.arrives(tunnel, b"more")
    registry = site.world.services.registry
    assert len(registry.lingering) == 1
    site.client.breaks()
    site.run()
    assert len(registry) == 0


# Streams


def full(site: Http2Site, upstream: FakeStream) -> None:
    """Let an upstream read nothing, and send it a part of a body."""
    upstream.stops_reading()
    site.sends(frame(0, 0, 1, b"first"), frame(0, 0, 1, b"second"), frame(0, 0, 1, b"third"))


def test_a_request_that_is_reset_in_the_same_read_costs_no_dial() -> None:
    site = Http2Site()
    site.sends(headers(1) + frame(3, 0, 1, number(CANCEL)) + headers(3))
    assert len(site.world.dials) == 1
    assert len(site.world.services.registry.streams) == 1
    site.arrives(site.world.dial().succeeds(), OK)
    assert data_of(site.frames(), 3) == b"ok"


def test_requests_behind_which_a_fault_comes_are_not_started() -> None:
    site = Http2Site()
    site.sends(headers(1) + WRONG)
    assert site.world.dials == []
    assert len(site.world.services.registry.streams) == 0


@pytest.mark.parametrize("is_reused", [False, True], ids=["new", "reused"])
def test_a_body_that_comes_with_its_head_stays_in_order(is_reused: bool) -> None:
    site = Http2Site()
    if is_reused:
        upstream = site.ask(1)
        site.arrives(upstream, OK)
    post = headers(3, POST, False)
    site.sends(post + frame(0, 0, 3, b"abc") + frame(0, 0, 3, b"de"), frame(0, 0, 3, b"f"))
    if not is_reused:
        upstream = site.world.dial().succeeds()
    site.sends(frame(0, 1, 3, b"g"))
    body = upstream.got.rpartition(b"\r\n\r\n3\r\n")[2]
    assert body == b"abc\r\n2\r\nde\r\n1\r\nf\r\n1\r\ng\r\n0\r\n\r\n"


def test_a_tunnel_that_ends_with_its_head_half_closes_its_upstream() -> None:
    site = Http2Site()
    tunnel = site.ask(1, CONNECT, True)
    assert tunnel.has_sent_end()
    site.arrives(tunnel, b"bye")
    assert data_of(site.frames(), 1) == b"bye"


def test_trailers_stay_behind_the_body_that_is_held() -> None:
    site = Http2Site()
    upstream = site.post(1)
    full(site, upstream)
    site.sends(trailers())
    upstream.reads_again()
    site.run()
    body = upstream.got.partition(b"\r\n\r\n")[2]
    assert body == b"5\r\nfirst\r\n6\r\nsecond\r\n5\r\nthird\r\n0\r\nx-sum: 1\r\n\r\n"


def trailers() -> bytes:
    """Return the trailers of the first stream."""
    return frame(1, 5, 1, b"\x10\x05x-sum\x011")


def test_the_end_stays_behind_the_body_that_is_held() -> None:
    site = Http2Site()
    upstream = site.post(1)
    full(site, upstream)
    site.sends(frame(0, 1, 1))
    upstream.reads_again()
    site.run()
    assert upstream.got.endswith(b"\r\nthird\r\n0\r\n\r\n")


def test_trailers_of_a_body_of_known_length_are_dropped() -> None:
    site = Http2Site()
    upstream = site.post(1, (b"content-length", b"3"))
    site.sends(frame(0, 0, 1, b"abc"), trailers())
    assert upstream.got.endswith(b"content-length: 3\r\n\r\nabc")
    site.arrives(upstream, OK)
    assert data_of(site.frames(), 1) == b"ok"


def test_an_early_answer_ends_with_its_stream_and_a_reset_without_an_error() -> None:
    site = Http2Site()
    upstream = site.post(1)
    site.frames()
    site.arrives(upstream, OK.replace(b"Content", b"Connection: close\r\nContent"))
    frames = site.frames()
    assert [(each.kind, each.flags & 1) for each in frames if each.stream_id] == [
        (1, 0), (0, 1), (3, 0),
    ]  # fmt: skip
    assert resets(frames) == [(1, NO_ERROR)]
    assert upstream.is_over()
    # What is on its way is ignored.
    site.sends(frame(0, 0, 1, b"late"), trailers())
    assert site.frames() == []


def test_the_reset_of_an_early_answer_waits_for_its_window() -> None:
    site = Http2Site()
    site.sends(window_setting(0))
    upstream = site.post(1)
    site.frames()
    site.arrives(upstream, OK.replace(b"Content", b"Connection: close\r\nContent"))
    assert resets(site.frames()) == []
    site.sends(frame(8, 0, 1, number(9)))
    frames = site.frames()
    assert (data_of(frames, 1), resets(frames)) == (b"ok", [(1, NO_ERROR)])


def test_the_end_is_in_the_last_frame_of_a_whole_response() -> None:
    site = Http2Site()
    upstream = site.ask(1)
    site.frames()
    site.arrives(upstream, OK)
    assert [(each.kind, each.flags) for each in site.frames()] == [(1, 4), (0, 1)]


WHOLE = {
    "no-content": (head("HTTP/1.1 204 No Content"),),
    "not-modified": (head("HTTP/1.1 304 Not Modified", "ETag: a"),),
    "empty": (head("HTTP/1.1 200 OK", "Content-Length: 0"),),
    "with-body": (OK,),
    "body-later": (OK[:-2], b"ok"),
    "chunked": (head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked"), b"2\r\nok\r\n0\r\n\r\n"),
    "trailers": (
        head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "Trailer: a"),
        b"2\r\nok\r\n", b"0\r\na: b\r\n\r\n",
    ),
}  # fmt: skip


@pytest.mark.parametrize("parts", WHOLE.values(), ids=WHOLE)
def test_a_whole_response_leaves_its_upstream_to_the_next_request(parts: tuple[bytes, ...]) -> None:
    site = Http2Site()
    upstream = site.ask(1)
    for stream_id in (1, 3):
        for part in parts:
            site.arrives(upstream, part)
        assert site.frames()[-1].flags & 1
        assert not upstream.is_over()
        assert len(site.world.services.registry.streams) == 0
        site.sends(headers(stream_id + 2))
        assert len(site.world.dials) == 1
    tally = site.world.services.tally
    assert (tally.count(Outcome.COMPLETE), tally.count(Outcome.CLIENT_GONE)) == (2, 0)


def test_a_whole_response_does_not_wait_for_a_body_that_is_held() -> None:
    site = Http2Site()
    upstream = site.post(1)
    full(site, upstream)
    site.sends(frame(0, 1, 1))
    site.arrives(upstream, head("HTTP/1.1 204 No Content"))
    assert upstream.is_over()
    assert len(site.world.services.registry.streams) == 0


def test_a_response_that_breaks_off_resets_its_stream() -> None:
    site = Http2Site()
    upstream = site.ask(1)
    site.arrives(upstream, OK[:-1])
    upstream.breaks()
    site.run()
    assert resets(site.frames()) == [(1, INTERNAL_ERROR)]


def test_a_reset_of_the_client_drops_the_upstream() -> None:
    site = Http2Site()
    upstream = site.ask(1)
    site.sends(frame(3, 0, 1, number(CANCEL)))
    assert upstream.is_over()
    assert len(site.world.services.registry.streams) == 0


def test_windows_that_stay_closed_hold_a_bounded_part_and_other_streams_go_on() -> None:
    site = Http2Site()
    site.sends(window_setting(0))
    held = [site.ask(number) for number in range(1, 151, 2)]
    for upstream in held:
        site.arrives(upstream, head("HTTP/1.1 200 OK", "Content-Length: 200000") + bytes(60_000))
        site.arrives(upstream, bytes(60_000))
    assert site.pending_size() <= 1_048_576 + 60_000
    other = site.ask(151)
    site.sends(frame(8, 0, 151, number(100)))
    site.arrives(other, OK)
    assert data_of(site.frames(), 151) == b"ok"
