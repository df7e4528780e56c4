"""Any order of events on a TLS session: no byte is lost, and no callback comes within a call."""

import contextlib
import ssl
from collections.abc import Callable, Iterator
from typing import Any, Final

from hypothesis import given
from hypothesis import strategies as st

from cmux_proxy.net.read_buffer import ReadSize
from cmux_proxy.net.tls_engine import TlsEngine
from cmux_proxy.net.tls_errors import HandshakeError
from cmux_proxy.net.tls_handshake import TlsHandshake
from cmux_proxy.net.tls_stream import TlsStream
from tests.helpers.fakes import World
from tests.helpers.tls import NAME, TLS_1_2, TLS_1_3, TlsPeer, contexts

SIZES: Final = st.sampled_from([1, 5, 100, 16_383, 16_384, 16_385, 40_000])
EVENTS: Final = (
    "peer ends", "pauses", "pauses with data", "resumes", "turn", "ends", "peer is full",
    "peer has room",
)  # fmt: skip
STEPS: Final = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["gets", "gets", "peer sends", "arrives"]), SIZES),
        st.tuples(st.sampled_from(["writes", "writes lines"]), SIZES),
        st.tuples(st.just("reads at a time"), st.sampled_from([1000, 20_000, 262_144])),
        st.tuples(st.sampled_from(EVENTS), st.just(0)),
        st.tuples(st.sampled_from(["resumes", "turn"]), st.just(0)),
    ),
    min_size=5,
    max_size=40,
)
CONTEXTS: Final = {version: contexts(version) for version in (TLS_1_2, TLS_1_3)}


def numbers(start: int, count: int) -> bytes:
    """Return a part of an endless row of bytes that does not repeat soon."""
    return bytes((number * 7 + number // 251) & 0xFF for number in range(start, start + count))


class Play:
    """A session between a stream and a peer, and what each has sent."""

    def __init__(self, is_server: bool, version: ssl.TLSVersion) -> None:
        server, client = CONTEXTS[version]
        ours, theirs = (server, client) if is_server else (client, server)
        self.world = World()
        self.inner = self.world.stranger()
        self.peer = TlsPeer(theirs, not is_server)
        self.received = bytearray()
        self.calls: list[str] = []
        self.max_size = 262_144
        self.to_us = b""
        self.peer_sent = 0
        self.written = 0
        self.peer_has_ended = False
        self.has_ended = False
        self.pauses_with_its_data = False
        self._call = ""
        self._passed = 0
        engine = TlsEngine(ours, is_server, None if is_server else NAME)
        handshake = TlsHandshake(
            self.world.loop, self.inner, engine, is_server, self, ReadSize(True, 65_536)
        )
        handshake.start(b"")
        self.peer.take(b"")
        while not (self.calls and self.peer.is_open):
            self.to_us += self.peer.outgoing()
            self.arrives(len(self.to_us))
            self.pass_on()
        self.stream.set_write_buffer_limits(high=0)

    # What a handshake and a stream report to

    def handshake_done(self, stream: TlsStream, is_write_paused: bool, /) -> None:
        stream.start(self, is_write_paused)

    def handshake_failed(self, error: HandshakeError, _has_ended: bool, /) -> None:
        raise AssertionError(error)

    def connection_made(self, stream: Any, /) -> None:
        self.stream: TlsStream = stream
        self._note("made")

    def data_received(self, data: bytes, /) -> None:
        assert 0 < len(data) <= self.max_size
        assert "eof" not in self.calls
        self.received += data
        self._note("data")
        if self.pauses_with_its_data:
            self.pauses()

    def eof_received(self) -> bool:
        self._note("eof")
        return True

    def connection_lost(self, _error: Exception | None, /) -> None:
        self._note("lost")

    def pause_writing(self) -> None:
        assert self._call in ("", "write", "writelines")
        self.calls.append("pause")

    def resume_writing(self) -> None:
        self._note("resume")

    def _note(self, name: str) -> None:
        assert not self._call, f"{name} came within {self._call}"
        assert "lost" not in self.calls
        self.calls.append(name)

    @contextlib.contextmanager
    def call(self, name: str) -> Iterator[None]:
        """Require that nothing but `pause_writing` is called meanwhile."""
        self._call = name
        yield
        self._call = ""

    # What happens

    def peer_sends(self, count: int) -> None:
        if not self.peer_has_ended:
            self.to_us += self.peer.sends(numbers(self.peer_sent, count))
            self.peer_sent += count

    def peer_ends(self, _count: int = 0) -> None:
        if not self.peer_has_ended:
            self.peer_has_ended = True
            self.to_us += self.peer.ends()

    def arrives(self, count: int) -> None:
        data, self.to_us = self.to_us[:count], self.to_us[count:]
        self.inner.arrives(data)
        self.world.run()

    def gets(self, count: int) -> None:
        self.peer_sends(count)
        self.arrives(len(self.to_us))

    def writes(self, count: int) -> None:
        if not self.has_ended:
            with self.call("write"):
                self.stream.write(numbers(self.written, count))
            self.written += count

    def writes_lines(self, count: int) -> None:
        if not self.has_ended:
            data = numbers(self.written, count)
            with self.call("writelines"):
                self.stream.writelines([data[:3], memoryview(data)[3:50], data[50:]])
            self.written += count

    def ends(self, _count: int = 0) -> None:
        with self.call("write_eof"):
            self.stream.write_eof()
        self.has_ended = True

    def pauses(self, _count: int = 0) -> None:
        with self.call("pause_reading"):
            self.stream.pause_reading()

    def resumes(self, _count: int = 0) -> None:
        with self.call("resume_reading"):
            self.stream.resume_reading()

    def pauses_with_data(self, _count: int = 0) -> None:
        self.pauses_with_its_data = not self.pauses_with_its_data

    def turn(self, _count: int = 0) -> None:
        self.world.run()
        self.world.loop.turn()
        self.pass_on()

    def reads_at_a_time(self, count: int) -> None:
        self.max_size = self.stream.max_size = count

    def peer_is_full(self, _count: int = 0) -> None:
        self.inner.stops_reading()

    def peer_has_room(self, _count: int = 0) -> None:
        self.inner.reads_again()
        self.pass_on()

    def pass_on(self) -> None:
        new = self.inner.got[self._passed :]
        self._passed = len(self.inner.got)
        self.peer.take(new)

    def finish(self) -> None:
        """Let everything that is on its way arrive."""
        self.pauses_with_its_data = False
        self.peer_has_room()
        self.resumes()
        self.arrives(len(self.to_us))
        for _ in range(3):
            self.turn()


@given(st.booleans(), st.sampled_from([TLS_1_2, TLS_1_3]), STEPS, st.booleans())
def test_any_order_of_events(
    is_server: bool, version: ssl.TLSVersion, steps: list[tuple[str, int]], closes: bool
) -> None:
    play = Play(is_server, version)
    for name, count in steps:
        step: Callable[[int], None] = getattr(play, name.replace(" ", "_"))
        step(count)
    play.finish()
    assert play.received == numbers(0, play.peer_sent)
    assert ("eof" in play.calls) == play.peer_has_ended
    assert play.calls.count("eof") <= 1
    pauses = [name for name in play.calls if name in ("pause", "resume")]
    assert all(name == ("pause", "resume")[index % 2] for index, name in enumerate(pauses))
    if closes:
        with play.call("close"):
            play.stream.close()
    else:
        with play.call("abort"):
            play.stream.abort()
    play.turn()
    assert play.calls[-1] == "lost"
    assert play.peer.received == numbers(0, play.written)
    assert play.peer.has_got_end == (closes or play.has_ended)
    assert play.peer.error is None
