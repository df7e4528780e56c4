"""TLS on the admin listener, beside plain HTTP: the first byte of a connection decides.

Does not know requests. Neighbours: `connections.py` has the timeout of a handshake,
`net/tls_handshake.py` shakes hands.
"""

from typing import Final

from cmux_proxy.net.read_buffer import ReadSize
from cmux_proxy.net.stream import FirstOwner, Loop, Stream
from cmux_proxy.net.tls_contexts import TlsServer
from cmux_proxy.net.tls_engine import TlsEngine
from cmux_proxy.net.tls_errors import HandshakeError
from cmux_proxy.net.tls_handshake import TlsHandshake
from cmux_proxy.net.tls_stream import TlsStream

# The content type of the first record of a client (RFC 8446 section 5.1).
_FIRST_BYTE: Final = b"\x16"
_READ_SIZE: Final = 256 * 1024


def begins_with_tls(data: bytes) -> bool:
    """Return whether the first bytes of a connection are those of a TLS client."""
    return data.startswith(_FIRST_BYTE)


def open_session(loop: Loop, inner: Stream, owner: FirstOwner, tls: TlsServer, data: bytes) -> None:
    """Shake hands, and then report the session to `owner`, from `connection_made` on.

    `data` is what has arrived. Where there is no session, `owner` only loses its connection.
    """
    engine = TlsEngine(tls.context, True)
    outcome = _Outcome(owner, inner)
    TlsHandshake(loop, inner, engine, True, outcome, ReadSize(True, _READ_SIZE)).start(data)


class _Outcome:
    """The outcome of a handshake."""

    def __init__(self, owner: FirstOwner, inner: Stream) -> None:
        self._owner = owner
        self._inner = inner

    def handshake_done(self, stream: TlsStream, is_write_paused: bool, /) -> None:
        """Report the session."""
        stream.start(self._owner, is_write_paused)

    def handshake_failed(self, _error: HandshakeError, _has_ended: bool, /) -> None:
        """Close; the alert has been sent."""
        self._inner.set_protocol(self._owner)
        self._inner.close()

    def connection_lost(self, error: Exception | None, /) -> None:
        """Report the loss."""
        self._owner.connection_lost(error)
