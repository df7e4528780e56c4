"""TLS as a stream, over a stream without sockets: what arrives is cut in every way."""

import asyncio
import ssl
from typing import Any

import pytest

from cmux_proxy.net.asyncio_backend import (
    alpn,
    can_half_close,
    is_encrypted,
    may_splice,
    raw_fd,
    scheme,
)
from cmux_proxy.net.closing import reset, send_end
from cmux_proxy.net.peer import peer_of
from cmux_proxy.net.read_buffer import BufferedAdapter, ReadSize
from cmux_proxy.net.socket_queues import count_unread
from cmux_proxy.net.tls_engine import TlsEngine
from cmux_proxy.net.tls_errors import HandshakeError
from cmux_proxy.net.tls_handshake import TlsHandshake
from cmux_proxy.net.tls_stream import TlsStream
from tests.helpers.fakes import FakeStream, World
from tests.helpers.tls import (
    CUTS,
    NAME,
    TLS_1_2,
    TLS_1_3,
    TlsPeer,
    client_context,
    contexts,
    cut,
    server_context,
)

VERSIONS = pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3], ids=["1.2", "1.3"])
ROLES = pytest.mark.parametrize("is_server", [True, False], ids=["server", "client"])
HOWS = pytest.mark.parametrize("how", CUTS)
BIG = bytes(range(256)) * 400


class Owner:
    """An owner of a session; `calls` are its callbacks, `on_data` what it does with data."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.received = bytearray()
        self.sizes: list[int] = []
        self.error: Exception | None = None
        self.stays_open = True
        self.stream: TlsStream
        self.on_data: Any = lambda: None

    def connection_made(self, stream: Any, /) -> None:
        self.stream = stream
        self.calls.append("made")

    def data_received(self, data: bytes, /) -> None:
        assert data
        self.received += data
        self.sizes.append(len(data))
        self.calls.append("data")
        self.on_data()

    def eof_received(self) -> bool:
        self.calls.append("eof")
        return self.stays_open

    def connection_lost(self, error: Exception | None, /) -> None:
        self.error = error
        self.calls.append("lost")

    def pause_writing(self) -> None:
        self.calls.append("pause")

    def resume_writing(self) -> None:
        self.calls.append("resume")


class Session:
    """A session over a stream without sockets, whose other end is a `TlsPeer`."""

    def __init__(
        self,
        is_server: bool = True,
        version: ssl.TLSVersion = TLS_1_3,
        ours: ssl.SSLContext | None = None,
        theirs: ssl.SSLContext | None = None,
    ) -> None:
        server, client = contexts(version)
        if not is_server:
            server, client = client, server
        self.world = World()
        self.inner: FakeStream = self.world.stranger()
        self.peer = TlsPeer(theirs or client, not is_server)
        self.owner = Owner()
        self.failure: HandshakeError | None = None
        self.loss: list[Exception | None] = []
        engine = TlsEngine(ours or server, is_server, None if is_server else NAME)
        self.handshake = TlsHandshake(
            self.world.loop, self.inner, engine, is_server, self, ReadSize(True, 65536)
        )
        self.passed = 0

    def handshake_done(self, stream: TlsStream, is_write_paused: bool, /) -> None:
        stream.start(self.owner, is_write_paused)

    def handshake_failed(self, error: HandshakeError, has_ended: bool, /) -> None:
        self.failure = error

    def connection_lost(self, error: Exception | None, /) -> None:
        self.loss.append(error)

    def open(self, how: str = "whole", early: bytes = b"") -> "Session":
        """Shake hands; `early` are bytes that the peer sends right behind its last flight."""
        self.handshake.start(b"")
        if not self.peer.session.server_side:
            self.peer.take(b"")
        while not (self.peer.is_open and self.owner.calls) and self.failure is None:
            outgoing = self.peer.outgoing()
            if self.peer.is_open and early:
                outgoing += self.peer.sends(early)
                early = b""
            assert outgoing or len(self.inner.got) > self.passed
            self.arrives(outgoing, how)
            self.pass_on()
        return self

    def arrives(self, data: bytes, how: str = "whole") -> None:
        """Let ciphertext arrive."""
        for piece in cut(data, how):
            self.inner.arrives(piece)
            self.world.run()

    def pass_on(self, how: str = "whole") -> None:
        """Give the peer what was sent to it."""
        new = self.inner.got[self.passed :]
        self.passed = len(self.inner.got)
        for piece in cut(new, how):
            self.peer.take(piece)

    @property
    def stream(self) -> TlsStream:
        return self.owner.stream

    def turn(self) -> None:
        """Make the calls of this turn of the loop."""
        self.world.run()
        self.world.loop.turn()


@ROLES
@VERSIONS
@HOWS
def test_bytes_pass_in_both_directions(is_server: bool, version: ssl.TLSVersion, how: str) -> None:
    session = Session(is_server, version).open(how)
    session.arrives(session.peer.sends(b"hello") + session.peer.sends(BIG[:20_000]), how)
    assert session.owner.received == b"hello" + BIG[:20_000]
    session.stream.write(b"well ")
    session.stream.writelines([b"met", memoryview(BIG), b"!", bytearray(b"?")])
    session.pass_on()
    assert session.peer.received == b"well met" + BIG + b"!?"
    assert session.owner.calls[0] == "made"
    assert session.peer.error is None


@VERSIONS
@HOWS
def test_bytes_behind_the_last_flight_of_a_client_reach_the_owner(
    version: ssl.TLSVersion, how: str
) -> None:
    session = Session(True, version).open(how, early=BIG[:30_000])
    session.pass_on()
    if not session.owner.received:
        # With TLS 1.2 the flight of the server is the last one.
        session.arrives(session.peer.sends(BIG[:30_000]), how)
    assert session.owner.received == BIG[:30_000]
    assert session.owner.calls[:2] == ["made", "data"]


@HOWS
def test_what_a_server_says_first_reaches_the_owner(how: str) -> None:
    session = Session(False, TLS_1_2).open("whole", early=b"")
    session.arrives(session.peer.sends(b"220 ready"), how)
    assert session.owner.received == b"220 ready"


def test_one_read_is_one_call_of_the_owner_up_to_its_size() -> None:
    session = Session().open()
    # Four records in one read.
    session.arrives(session.peer.sends(BIG[:60_000]))
    assert session.owner.sizes == [60_000]
    session.stream.max_size = 25_000
    session.arrives(session.peer.sends(BIG[:60_000]))
    assert session.owner.sizes[1:] == [25_000, 25_000, 10_000]
    assert session.owner.received == BIG[:60_000] * 2


def test_an_owner_with_a_buffer_gets_its_bytes_there() -> None:
    read_size = ReadSize(False, 20_000)
    session = Session().open()
    read_size.limit(session.stream, session.owner)
    assert isinstance(session.stream.get_protocol(), BufferedAdapter)
    session.arrives(session.peer.sends(BIG[:30_000]))
    assert session.owner.received == BIG[:30_000]
    assert max(session.owner.sizes) <= 20_000
    session.stream.set_protocol(session.owner)
    session.arrives(session.peer.sends(b"end"))
    assert session.owner.sizes[-1] == 3


def test_a_buffer_without_room_drops_the_connection() -> None:
    class Empty(Owner, asyncio.BufferedProtocol):
        def get_buffer(self, sizehint: int) -> bytearray:
            return bytearray()

    session = Session().open()
    session.stream.set_protocol(Empty())
    with pytest.raises(RuntimeError, match="empty buffer"):
        session.arrives(session.peer.sends(b"data"))


def test_the_owner_may_change_with_each_call() -> None:
    session = Session().open()
    other = Owner()
    session.stream.max_size = 10
    session.owner.on_data = lambda: session.stream.set_protocol(other)
    session.arrives(session.peer.sends(b"0123456789abcdefghijABC"))
    assert session.owner.received == b"0123456789"
    assert other.received == b"abcdefghijABC"


# Back-pressure


def test_nothing_is_reported_while_reading_is_paused() -> None:
    session = Session().open()
    session.stream.max_size = 10
    session.owner.on_data = session.owner.calls.clear
    session.stream.pause_reading()
    session.stream.pause_reading()
    session.arrives(session.peer.sends(b"0123456789abc") + session.peer.ends())
    assert not session.owner.received
    # Not in the call itself, but in the next turn.
    session.stream.resume_reading()
    session.stream.resume_reading()
    assert not session.owner.received
    session.turn()
    assert session.owner.received == b"0123456789abc"
    assert session.owner.calls == ["eof"]


def test_an_owner_that_pauses_gets_the_rest_in_the_next_turn() -> None:
    session = Session().open()
    session.stream.max_size = 10
    session.owner.on_data = session.stream.pause_reading
    session.arrives(session.peer.sends(b"0123456789abcdefghijABC") + session.peer.ends())
    assert session.owner.received == b"0123456789"
    assert session.stream.get_extra_info("unread_size") == count_unread(session.stream) == 13
    assert not session.inner.is_reading()
    session.stream.resume_reading()
    assert session.inner.is_reading()
    assert session.owner.received == b"0123456789"
    session.turn()
    assert session.owner.received == b"0123456789abcdefghij"
    session.stream.resume_reading()
    session.turn()
    assert session.owner.calls[-1] == "data"
    session.stream.resume_reading()
    session.turn()
    assert session.owner.calls[-1] == "eof"


def test_bytes_that_wait_come_before_new_ones() -> None:
    session = Session().open()
    session.stream.max_size = 4
    session.owner.on_data = session.stream.pause_reading
    session.arrives(session.peer.sends(b"01234567"))
    session.owner.on_data = lambda: None
    session.stream.resume_reading()
    session.arrives(session.peer.sends(b"89"))
    session.turn()
    assert session.owner.received == b"0123456789"


def test_an_error_of_the_owner_in_a_later_turn_drops_the_connection() -> None:
    session = Session().open()
    session.stream.max_size = 2
    session.owner.on_data = session.stream.pause_reading
    session.arrives(session.peer.sends(b"data"))
    session.stream.resume_reading()

    def fail() -> None:
        raise ValueError

    session.owner.on_data = fail
    with pytest.raises(ValueError):  # noqa: PT011
        session.turn()
    assert session.inner.was_aborted()


@ROLES
def test_a_peer_that_does_not_read_pauses_the_owner(is_server: bool) -> None:
    session = Session(is_server).open()
    session.stream.set_write_buffer_limits(high=0)
    session.inner.stops_reading()
    session.stream.write(BIG)
    assert session.owner.calls[-1] == "pause"
    assert session.stream.get_write_buffer_size() >= len(BIG)
    session.inner.reads_again()
    assert session.owner.calls[-1] == "resume"
    session.pass_on()
    assert session.peer.received == BIG


def test_a_client_that_does_not_read_the_tickets_pauses_the_owner() -> None:
    session = Session()
    session.inner.set_write_buffer_limits(high=0)
    session.handshake.start(b"")
    session.peer.take(b"")
    session.arrives(session.peer.outgoing())
    session.pass_on()
    session.inner.stops_reading()
    # With the end of the handshake the server sends its tickets.
    session.arrives(session.peer.outgoing())
    assert session.owner.calls == ["made", "pause"]
    session.inner.reads_again()
    assert session.owner.calls == ["made", "pause", "resume"]


def test_a_close_does_not_pause_the_owner() -> None:
    session = Session().open()
    session.stream.set_write_buffer_limits(high=0)
    session.inner.stops_reading()
    session.stream.close()
    assert "pause" not in session.owner.calls


# The end of one half


@ROLES
@VERSIONS
@HOWS
def test_a_half_close_loses_no_bytes_of_the_peer_that_are_on_their_way(
    is_server: bool, version: ssl.TLSVersion, how: str
) -> None:
    session = Session(is_server, version).open()
    on_their_way = session.peer.sends(BIG[:20_000])
    first, rest = on_their_way[:18_000], on_their_way[18_000:]
    # A part of a record has arrived.
    session.arrives(first, how)
    session.stream.write(b"last words")
    assert send_end(session.stream)
    session.pass_on()
    assert (bytes(session.peer.received), session.peer.has_got_end) == (b"last words", True)
    assert session.inner.has_sent_end()
    assert not session.stream.is_closing()
    session.arrives(rest, how)
    assert session.owner.received == BIG[:20_000]
    session.arrives(session.peer.ends(), how)
    assert session.owner.calls[-1] == "eof"


@VERSIONS
def test_a_half_close_with_undelivered_bytes_loses_none(version: ssl.TLSVersion) -> None:
    session = Session(True, version).open()
    session.stream.pause_reading()
    session.inner.resume_reading()
    session.arrives(session.peer.sends(BIG[:60_000]))
    session.stream.write_eof()
    session.stream.write_eof()
    session.pass_on()
    assert session.peer.has_got_end
    session.stream.resume_reading()
    session.turn()
    assert session.owner.received == BIG[:60_000]


@VERSIONS
def test_a_half_close_within_a_callback_loses_none(version: ssl.TLSVersion) -> None:
    session = Session(True, version).open()
    session.stream.max_size = 100
    session.owner.on_data = session.stream.write_eof
    session.arrives(session.peer.sends(BIG[:60_000]) + session.peer.ends())
    assert session.owner.received == BIG[:60_000]
    assert session.owner.calls[-1] == "eof"
    session.pass_on()
    assert session.peer.has_got_end


def test_a_write_after_the_end_of_our_half_is_an_error() -> None:
    session = Session().open()
    session.stream.write_eof()
    with pytest.raises(RuntimeError):
        session.stream.write(b"more")
    with pytest.raises(RuntimeError):
        session.stream.writelines([b"more"])


@ROLES
@VERSIONS
def test_a_peer_that_has_ended_can_still_be_written_to(
    is_server: bool, version: ssl.TLSVersion
) -> None:
    session = Session(is_server, version).open()
    session.arrives(session.peer.sends(b"bye") + session.peer.ends() + b"anything")
    assert session.owner.calls == ["made", "data", "eof"]
    session.stream.write(b"answer")
    session.stream.close()
    session.pass_on()
    assert session.peer.received == b"answer"
    assert session.inner.is_over()
    session.inner.ends()
    assert session.owner.calls == ["made", "data", "eof"]


@ROLES
def test_an_owner_that_does_not_stay_open_closes_with_the_end_of_the_peer(is_server: bool) -> None:
    session = Session(is_server).open()
    session.owner.stays_open = False
    session.arrives(session.peer.ends())
    session.world.run()
    assert session.owner.calls == ["made", "eof", "lost"]
    assert session.owner.error is None
    session.pass_on()
    assert session.peer.has_got_end


def test_a_client_that_ends_without_close_notify_has_ended() -> None:
    session = Session(True).open()
    session.arrives(session.peer.sends(b"bye"))
    session.inner.ends()
    assert session.owner.calls == ["made", "data", "eof"]
    session.stream.write(b"answer")
    session.pass_on()
    assert session.peer.received == b"answer"


def test_a_server_that_ends_without_close_notify_has_broken_off() -> None:
    session = Session(False).open()
    session.arrives(session.peer.sends(b"half an answ"))
    session.inner.ends()
    session.world.run()
    assert session.owner.calls == ["made", "data", "lost"]
    assert isinstance(session.owner.error, ConnectionResetError)


def test_the_end_of_the_connection_behind_close_notify_is_no_news() -> None:
    for is_server in (True, False):
        session = Session(is_server).open()
        session.arrives(session.peer.ends())
        session.inner.ends()
        session.stream.pause_reading()
        session.stream.resume_reading()
        session.turn()
        assert session.owner.calls == ["made", "eof"]


# Close, abort, errors


@VERSIONS
def test_close_sends_what_waits_and_close_notify(version: ssl.TLSVersion) -> None:
    session = Session(True, version).open()
    session.inner.stops_reading()
    session.stream.write(BIG)
    session.stream.close()
    session.stream.close()
    session.stream.write(b"too late")
    session.arrives(session.peer.sends(b"unread"))
    assert session.stream.is_closing()
    assert not session.inner.is_lost()
    session.inner.reads_again()
    session.world.run()
    session.pass_on()
    assert (bytes(session.peer.received), session.peer.has_got_end) == (BIG, True)
    assert session.owner.calls[-1] == "lost"
    assert not session.owner.received
    assert session.stream.get_protocol() is None


def test_abort_sends_nothing_and_reports_the_loss_later() -> None:
    session = Session().open()
    session.stream.abort()
    assert session.owner.calls == ["made"]
    session.world.run()
    assert session.owner.calls == ["made", "lost"]
    session.pass_on()
    assert not session.peer.has_got_end


def test_a_reset_resets_the_connection_beneath() -> None:
    session = Session().open()
    reset(session.stream)
    assert session.inner.socket.resets_on_close
    assert session.inner.was_aborted()


def test_a_loss_beneath_is_reported_with_its_error() -> None:
    session = Session().open()
    error = ConnectionResetError()
    session.inner.breaks(error)
    session.world.run()
    assert session.owner.error is error
    session.stream.close()
    session.stream.pause_reading()
    session.stream.resume_reading()
    session.turn()


@VERSIONS
def test_bytes_that_were_changed_on_the_way_drop_the_connection(version: ssl.TLSVersion) -> None:
    session = Session(True, version).open()
    good, bad = session.peer.sends(b"good"), bytearray(session.peer.sends(b"bad"))
    bad[-1] ^= 1
    session.owner.on_data = lambda: session.stream.write(b"unsendable")
    session.arrives(good + bytes(bad))
    session.world.run()
    assert session.owner.received == b"good"
    assert isinstance(session.owner.error, ssl.SSLError)
    session.pass_on()
    assert session.peer.error is not None
    assert "ALERT_BAD_RECORD_MAC" in str(session.peer.error.reason)


def test_an_empty_write_sends_nothing() -> None:
    session = Session().open()
    session.pass_on()
    session.stream.write(b"")
    session.pass_on()
    assert not session.peer.received


def test_what_arrives_behind_a_failed_handshake_is_ignored() -> None:
    session = Session()
    session.handshake.start(b"GET / HTTP/1.1\r\n\r\n")
    assert session.failure is not None
    assert session.failure.text == "the peer sent plain HTTP"
    # The stream stays open: its next owner closes it.
    assert not session.inner.is_over()
    session.failure = None
    session.arrives(b"more")
    session.inner.ends()
    assert session.failure is None
    session.inner.abort()
    session.world.run()
    assert session.loss == [None]


def test_a_peer_that_does_not_read_during_the_handshake_and_reads_again_pauses_nobody() -> None:
    session = Session()
    session.inner.set_write_buffer_limits(high=0)
    session.inner.stops_reading()
    session.handshake.start(b"")
    session.peer.take(b"")
    session.arrives(session.peer.outgoing())
    session.inner.reads_again()
    session.pass_on()
    session.arrives(session.peer.outgoing())
    assert session.owner.calls == ["made"]


@VERSIONS
def test_bytes_that_were_changed_behind_our_half_close_drop_the_connection(
    version: ssl.TLSVersion,
) -> None:
    session = Session(True, version).open()
    session.stream.write_eof()
    bad = bytearray(session.peer.sends(b"bad"))
    bad[-1] ^= 1
    # There is no way to send the alert any more.
    session.arrives(bytes(bad))
    session.world.run()
    assert isinstance(session.owner.error, ssl.SSLError)


# What the seam asks


@ROLES
def test_a_session_is_encrypted_and_never_spliced(is_server: bool) -> None:
    session = Session(
        is_server,
        ours=server_context("h2", "http/1.1") if is_server else client_context("http/1.1"),
        theirs=client_context("http/1.1") if is_server else server_context("h2", "http/1.1"),
    ).open()
    session.world.peer = "192.0.2.1"
    stream = session.stream
    assert is_encrypted(stream)
    assert scheme(stream) == "https"
    assert alpn(stream) == "http/1.1"
    assert raw_fd(stream) == -1
    assert not may_splice(stream)
    assert can_half_close(stream)
    assert peer_of(stream) == "192.0.2.1"
    assert stream.get_extra_info("nothing") is None


def test_a_session_within_a_session_works() -> None:
    outer = Session().open()
    inner_owner = Owner()
    contexts_within = contexts(TLS_1_2)
    peer = TlsPeer(contexts_within[1], False)

    class Within:
        def handshake_done(self, stream: TlsStream, is_write_paused: bool, /) -> None:
            stream.start(inner_owner, is_write_paused)

        def handshake_failed(self, error: HandshakeError, has_ended: bool, /) -> None:
            raise AssertionError(error)

        def connection_lost(self, error: Exception | None, /) -> None: ...

    engine = TlsEngine(contexts_within[0], True)
    handshake = TlsHandshake(
        outer.world.loop, outer.stream, engine, True, Within(), ReadSize(True, 65536)
    )
    handshake.start(b"")
    taken = 0
    peer.take(b"")
    while not (peer.is_open and inner_owner.calls):
        outer.arrives(outer.peer.sends(peer.outgoing()))
        outer.pass_on()
        peer.take(bytes(outer.peer.received[taken:]))
        taken = len(outer.peer.received)
    outer.arrives(outer.peer.sends(peer.sends(b"deep")))
    assert inner_owner.received == b"deep"
    inner_owner.stream.write(b"deeper")
    inner_owner.stream.close()
    outer.pass_on()
    peer.take(bytes(outer.peer.received[taken:]))
    assert (bytes(peer.received), peer.has_got_end) == (b"deeper", True)
    assert outer.peer.has_got_end
