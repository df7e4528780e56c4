"""One connection to an upstream during its TLS handshake.

Has no deadline: the dial has, which cancels it. Neighbours: `dial.py` starts it, and
`net/tls_handshake.py` shakes hands.
"""

from collections.abc import Callable
from typing import Final

from cmux_proxy.net.asyncio_backend import alpn
from cmux_proxy.net.read_buffer import ReadSize
from cmux_proxy.net.stream import FirstOwner, Loop, Stream
from cmux_proxy.net.tls_engine import TlsEngine
from cmux_proxy.net.tls_errors import CLOSED, TLS_PROTOCOL, HandshakeError
from cmux_proxy.net.tls_handshake import TlsHandshake
from cmux_proxy.net.tls_stream import TlsStream
from cmux_proxy.routing.target import H2

_NO_HTTP2: Final = HandshakeError("the peer does not offer HTTP/2", TLS_PROTOCOL)


class TlsOpening:
    """Owns a stream until its session is agreed on, and then starts it for `owner`.

    Calls `on_done` before that, or `on_failed` with the reason, unless it is cancelled. With
    `needs_http2`, the session must be for HTTP/2.
    """

    __slots__ = (
        "_engine", "_is_over", "_loop", "_needs_http2", "_on_done", "_on_failed", "_owner",
        "_read_size", "_stream",
    )  # fmt: skip

    def __init__(
        self,
        loop: Loop,
        engine: TlsEngine,
        owner: FirstOwner,
        read_size: ReadSize,
        on_done: Callable[[], None],
        on_failed: Callable[[HandshakeError], None],
        needs_http2: bool = False,
    ) -> None:
        self._loop = loop
        self._engine = engine
        self._owner = owner
        self._read_size = read_size
        self._on_done = on_done
        self._on_failed = on_failed
        self._needs_http2 = needs_http2
        self._stream: Stream | None = None
        self._is_over = False

    def cancel(self) -> None:
        """Abort the connection; nothing is reported any more."""
        self._is_over = True
        if self._stream is not None:
            self._stream.abort()

    # What the stream beneath calls before the handshake owns it

    def connection_made(self, stream: Stream, /) -> None:
        """Shake hands."""
        self._stream = stream
        if self._is_over:
            stream.abort()
            return
        stream.set_write_buffer_limits(high=0)
        self._read_size.limit(stream, self)
        TlsHandshake(
            self._loop, stream, self._engine, False, self, self._read_size
        ).start(b"")  # fmt: skip

    def data_received(self, _data: bytes, /) -> None:
        """Ignore what comes after a handshake that has failed."""

    def eof_received(self) -> bool:
        """Close."""
        return False

    def pause_writing(self) -> None:
        """Do nothing: a handshake is small."""

    def resume_writing(self) -> None:
        """Do nothing."""

    def connection_lost(self, _error: Exception | None, /) -> None:
        """Report it, if the handshake was not complete."""
        self._report(CLOSED)

    # What the handshake calls

    def handshake_done(self, stream: TlsStream, is_write_paused: bool, /) -> None:
        """Start the session."""
        if self._needs_http2 and alpn(stream) != H2:
            stream.set_protocol(self)
            stream.close()
            self._report(_NO_HTTP2)
            return
        self._is_over = True
        self._on_done()
        stream.start(self._owner, is_write_paused)

    def handshake_failed(self, error: HandshakeError, _has_ended: bool, /) -> None:
        """Close, with the alert that has been written, and report it."""
        if self._stream is not None:
            self._stream.set_protocol(self)
            self._stream.close()
        self._report(error)

    def _report(self, error: HandshakeError) -> None:
        if not self._is_over:
            self._is_over = True
            self._on_failed(error)
