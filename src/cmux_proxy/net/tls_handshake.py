"""The handshake of a TLS session over any stream, as a client or as a server.

Reports a session as a `TlsStream`, or one sentence that says why there is none. The stream beneath
stays open then, so that the peer can read our alert. Has no deadline: its owner has.
Neighbours: `tls_engine.py` has the session, `tls_errors.py` the sentences.
"""

from typing import Protocol

from cmux_proxy.net.read_buffer import ReadSize
from cmux_proxy.net.stream import Loop, Stream
from cmux_proxy.net.tls_engine import PORTION, TlsEngine
from cmux_proxy.net.tls_errors import CLOSED, HandshakeError, handshake_error
from cmux_proxy.net.tls_stream import TlsStream


class HandshakeOwner(Protocol):
    """What a handshake reports to: either its end, or the loss of the stream beneath."""

    def handshake_done(self, stream: TlsStream, is_write_paused: bool, /) -> None:
        """Take the session, and `start` it; it is the owner of the stream beneath."""

    def handshake_failed(self, error: HandshakeError, has_ended: bool, /) -> None:
        """Take the stream beneath back: own it, and close it.

        `has_ended` says that the peer sends nothing more.
        """

    def connection_lost(self, error: Exception | None, /) -> None:
        """The stream beneath is gone."""


class TlsHandshake:
    """Owns a stream until the session on it is agreed on."""

    __slots__ = (
        "_engine", "_inner", "_is_over", "_is_server", "_is_write_paused", "_loop", "_owner",
        "_read_size",
    )  # fmt: skip

    def __init__(
        self,
        loop: Loop,
        inner: Stream,
        engine: TlsEngine,
        is_server: bool,
        owner: HandshakeOwner,
        read_size: ReadSize,
    ) -> None:
        self._loop = loop
        self._inner = inner
        self._engine = engine
        self._is_server = is_server
        self._owner: HandshakeOwner | None = owner
        self._read_size = read_size
        self._is_write_paused = False
        self._is_over = False

    def start(self, data: bytes) -> None:
        """Own the stream from now on; `data` has been read of it already."""
        self._read_size.install(self._inner, self)
        self.data_received(data)

    def data_received(self, data: bytes, /) -> None:
        """Continue the handshake; the rest of the bytes is for the session."""
        if self._is_over:
            return
        view = memoryview(data)
        for start in range(0, max(len(data), 1), PORTION):
            is_done = self._engine.shake_hands(view[start : start + PORTION])
            if self._engine.has_outgoing():
                self._inner.write(self._engine.take_outgoing())
            if is_done:
                self._finish(data[start + PORTION :])
                return
            if self._engine.failure is not None:
                self._fail(handshake_error(self._engine.failure, self._is_server), False)
                return

    def eof_received(self) -> bool:
        """Fail: the peer cannot go on."""
        self._fail(CLOSED, True)
        return True

    def connection_lost(self, error: Exception | None, /) -> None:
        """Report the loss."""
        self._is_over = True
        if self._owner is not None:
            self._owner.connection_lost(error)
            self._owner = None

    def pause_writing(self) -> None:
        """Remember it for the owner of the session."""
        self._is_write_paused = True

    def resume_writing(self) -> None:
        """Forget it again."""
        self._is_write_paused = False

    def _finish(self, early: bytes) -> None:
        self._is_over = True
        owner = self._owner
        self._owner = None
        stream = TlsStream(self._loop, self._inner, self._engine, self._is_server, early)
        self._read_size.install(self._inner, stream)
        if owner is not None:
            owner.handshake_done(stream, self._is_write_paused)

    def _fail(self, error: HandshakeError, has_ended: bool) -> None:
        if self._owner is not None and not self._is_over:
            self._is_over = True
            self._owner.handshake_failed(error, has_ended)
