"""A connection during its TLS handshake: what happens before and after; without sockets."""

from typing import cast

from cmux_proxy.net.read_buffer import ReadSize
from cmux_proxy.net.stream import FirstOwner, Stream
from cmux_proxy.net.tls_engine import TlsEngine
from cmux_proxy.net.tls_errors import HandshakeError
from cmux_proxy.upstream.tls_opening import TlsOpening
from tests.helpers.fakes import World
from tests.helpers.tls import client_context


def opening(world: World, failures: list[HandshakeError]) -> TlsOpening:
    return TlsOpening(
        world.loop, TlsEngine(client_context(), False, "localhost"), cast(FirstOwner, None),
        ReadSize(True, 1024), lambda: None, failures.append,
    )  # fmt: skip


class OnlyAborted:
    """A stream that may be aborted, and nothing else."""

    is_aborted = False

    def abort(self) -> None:
        self.is_aborted = True


def test_one_that_is_cancelled_before_its_stream_exists_aborts_it() -> None:
    failures: list[HandshakeError] = []
    tls = opening(World(), failures)
    tls.cancel()
    stream = OnlyAborted()
    tls.connection_made(cast(Stream, stream))
    assert stream.is_aborted
    tls.connection_lost(None)
    assert failures == []


def test_a_loss_is_reported_once_and_back_pressure_means_nothing() -> None:
    failures: list[HandshakeError] = []
    tls = opening(World(), failures)
    tls.pause_writing()
    tls.resume_writing()
    tls.data_received(b"late")
    assert not tls.eof_received()
    tls.connection_lost(None)
    tls.connection_lost(None)
    assert [error.error for error in failures] == ["connection_terminated"]
