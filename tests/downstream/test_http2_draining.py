"""How a connection of HTTP/2 drains: no stream that the client may count on is lost."""

import pytest

from cmux_proxy.http2.error_codes import CANCEL, NO_ERROR
from tests.helpers.http2_frames import frame, number
from tests.helpers.http2_site import Http2Site, data_of, goaways, headers, resets
from tests.helpers.script import head

OK = head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"
ANY_STREAM = (2**31 - 1, NO_ERROR, b"")
CONNECT = [(b":method", b"CONNECT"), (b":authority", b"a:1")]


def drain(site: Http2Site, *, refuses: bool) -> None:
    """Let the worker drain, at first or once requests are refused."""
    registry = site.world.services.registry
    registry.is_draining = True
    registry.is_refusing = refuses
    for connection in registry.everyone():
        connection.drain()
    site.run()


def test_streams_on_their_way_are_served_and_those_behind_the_last_are_ignored() -> None:
    site = Http2Site()
    first = site.ask(1)
    drain(site, refuses=False)
    assert goaways(site.frames()) == [ANY_STREAM]
    second = site.ask(3)
    drain(site, refuses=True)
    assert goaways(site.frames()) == [(3, NO_ERROR, b"")]
    dials = len(site.world.dials)
    site.sends(headers(5), headers(7, is_last=False), frame(0, 1, 7, b"x"))
    site.sends(frame(3, 0, 5, number(CANCEL)), frame(8, 0, 7, number(1)))
    assert len(site.world.dials) == dials
    site.arrives(first, OK)
    assert not site.client.is_over()
    site.arrives(second, OK)
    frames = site.frames()
    assert (data_of(frames, 1), data_of(frames, 3), resets(frames)) == (b"ok", b"ok", [])
    assert site.client.is_lost()
    assert not site.client.was_aborted()


def test_an_idle_connection_stays_until_requests_are_refused() -> None:
    site = Http2Site()
    drain(site, refuses=False)
    assert goaways(site.frames()) == [ANY_STREAM]
    assert not site.client.is_over()
    upstream = site.ask(1)
    drain(site, refuses=True)
    site.arrives(upstream, OK)
    frames = site.frames()
    assert goaways(frames) == [(1, NO_ERROR, b"")]
    assert data_of(frames, 1) == b"ok"
    assert site.client.is_lost()


def test_an_idle_connection_is_closed_once_requests_are_refused() -> None:
    site = Http2Site()
    drain(site, refuses=False)
    drain(site, refuses=True)
    assert goaways(site.frames())[-1] == (0, NO_ERROR, b"")
    assert site.client.is_lost()


def test_the_drain_is_announced_once() -> None:
    site = Http2Site()
    site.ask(1)
    for _ in range(3):
        drain(site, refuses=False)
    assert goaways(site.frames()) == [ANY_STREAM]


def test_the_body_of_a_request_on_its_way_still_comes() -> None:
    site = Http2Site()
    upstream = site.post(1)
    drain(site, refuses=True)
    site.sends(frame(0, 0, 1, b"abc"), frame(0, 1, 1, b"def"))
    assert upstream.got.endswith(b"3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n")
    site.arrives(upstream, OK)
    assert data_of(site.frames(), 1) == b"ok"
    assert site.client.is_lost()


def test_a_tunnel_goes_on_while_the_worker_drains() -> None:
    site = Http2Site()
    tunnel = site.ask(1, CONNECT, False)
    drain(site, refuses=True)
    site.sends(frame(0, 0, 1, b"ping"))
    site.arrives(tunnel, b"pong")
    assert (tunnel.got, data_of(site.frames(), 1)) == (b"ping", b"pong")
    tunnel.ends()
    site.run()
    site.sends(frame(0, 1, 1))
    site.run()
    assert site.client.is_lost()


@pytest.mark.parametrize("size", [0, 1, 20])
def test_a_part_of_a_frame_does_not_hold_up_the_end(size: int) -> None:
    site = Http2Site()
    site.sends(*filter(None, [headers(1)[:size]]))
    drain(site, refuses=True)
    assert goaways(site.frames())[-1] == (0, NO_ERROR, b"")
    assert site.client.is_over()
