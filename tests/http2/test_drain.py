"""The end of a connection: drain, and when there is nothing to do (RFC 9113 section 6.8)."""

from cmux_proxy.http2.error_codes import (
    CANCEL,
    NO_ERROR,
)
from cmux_proxy.http2.frame_types import PREFACE
from tests.helpers.http2_client import Peer
from tests.helpers.http2_frames import (
    GET,
    POST,
    frame,
    number,
    read_frames,
)


def test_a_drain_serves_streams_on_their_way() -> None:
    peer = Peer()
    peer.open(1, is_last=True)
    peer.connection.announce_drain()
    assert peer.goaway() == (0x7FFFFFFF, NO_ERROR, b"")
    peer.open(3, is_last=True)
    peer.connection.refuse_streams()
    assert peer.goaway() == (3, NO_ERROR, b"")
    peer.feed(peer.headers(5, POST, False), frame(0, 0, 5, b"abc"), frame(8, 0, 5, number(1)))
    peer.feed(peer.headers(5, [(b"a", b"b")]), frame(3, 0, 5, number(CANCEL)))
    assert (peer.sent(), peer.events) == ([], [])
    peer.respond(1)
    assert peer.connection.has_work()
    peer.respond(3)
    assert peer.events == [("closed", 1), ("closed", 3)]
    assert not peer.connection.has_work()


def test_blocks_of_ignored_streams_are_decoded() -> None:
    peer = Peer()
    peer.open(1)
    peer.connection.refuse_streams()
    peer.feed(peer.headers(3, [*GET, (b"x-ignored", b"1")]))
    peer.feed(peer.headers(1, [(b"x-ignored", b"1")]))
    assert peer.events == [("trailers", 1, b"x-ignored: 1\r\n")]


def test_the_client_says_that_it_goes_away() -> None:
    peer = Peer()
    peer.open(1)
    peer.feed(frame(7, 0, 0, number(0) + number(NO_ERROR) + b"bye"))
    assert peer.events == [("goaway", 0, NO_ERROR)]
    assert peer.connection.count_streams() == 1


def test_it_has_work_while_frames_wait_or_a_stream_is_open() -> None:
    peer = Peer(greets=False)
    assert peer.connection.has_work()
    peer.sent()
    assert not peer.connection.has_work()
    peer.feed(PREFACE + frame(4, 0, 0))
    peer.sent()
    peer.open(1)
    assert peer.connection.has_work()


def test_all_bytes_before_a_fault_are_sent() -> None:
    peer = Peer()
    peer.feed(frame(6, 0, 0, bytes(8)) + frame(5, 4, 1))
    assert [sent.kind for sent in read_frames(peer.sent_bytes())] == [6, 7]
