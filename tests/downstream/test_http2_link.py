"""When the frames for an HTTP/2 client leave."""

from tests.helpers.http2_site import Http2Site, data_of
from tests.helpers.script import head

OK = head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"


def test_the_only_response_leaves_at_once() -> None:
    site = Http2Site()
    upstream = site.ask(1)
    site.frames()
    upstream.arrives(OK)
    assert data_of(site.frames(), 1) == b"ok"


def test_responses_of_several_streams_leave_together_behind_what_has_arrived() -> None:
    site = Http2Site()
    upstreams = [site.ask(stream_id) for stream_id in (1, 3, 5)]
    site.frames()
    for upstream in upstreams[:2]:
        upstream.arrives(OK)
    assert site.frames() == []
    site.run()
    frames = site.frames()
    assert data_of(frames, 1) == data_of(frames, 3) == b"ok"


def test_a_response_that_goes_on_leaves_behind_what_has_arrived() -> None:
    site = Http2Site()
    upstream = site.ask(1)
    site.frames()
    upstream.arrives(OK[:-1])
    assert site.frames() == []
    site.run()
    assert data_of(site.frames(), 1) == b"o"
