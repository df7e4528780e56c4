"""A client's connection that begins with TLS: its handshake, and then its HTTP/1 connection.

An `Http1Connection` has accepted it, and has read its first bytes; another one gets the session.
The head timeout is the handshake's deadline. Neighbours: `tls_start.py` recognizes such a
connection, `net/tls_handshake.py` shakes hands.
"""

from collections.abc import Callable
from typing import Final

from cmux_proxy.downstream.lingering_close import LingeringClose
from cmux_proxy.downstream.tls_start import report_failure
from cmux_proxy.net.stream import FirstOwner, Stream
from cmux_proxy.net.timers import Timed
from cmux_proxy.net.tls_contexts import TlsServer
from cmux_proxy.net.tls_engine import TlsEngine
from cmux_proxy.net.tls_errors import HandshakeError
from cmux_proxy.net.tls_handshake import TlsHandshake
from cmux_proxy.net.tls_stream import TlsStream
from cmux_proxy.relay.services import Services

_TOO_LATE: Final = HandshakeError("it was not complete in time", "tls_protocol_error")


class TlsConnection(Timed):
    """A connection during its handshake; `make_owner` makes what owns its session."""

    __slots__ = ("_address", "_make_owner", "_services", "_stream")

    def __init__(
        self,
        services: Services,
        make_owner: Callable[[], FirstOwner],
        stream: Stream,
        address: str,
    ) -> None:
        super().__init__()
        self._services = services
        self._make_owner = make_owner
        self._stream = stream
        self._address = address
        self.deadline = services.ticker.now + services.timeouts.head

    def start(self, tls: TlsServer, data: bytes) -> None:
        """Shake hands; `data` is what has arrived."""
        services = self._services
        services.registry.add_client(self)
        engine = TlsEngine(tls.context, True)
        TlsHandshake(
            services.loop, self._stream, engine, True, self, services.read_size
        ).start(data)  # fmt: skip

    def handshake_done(self, stream: TlsStream, is_write_paused: bool, /) -> None:
        """Serve the session; it enters the registry, and is admitted, in place of this."""
        services = self._services
        services.registry.remove_client(self)
        if services.admission is not None:
            services.admission.leave(self._stream)
        stream.start(self._make_owner(), is_write_paused)

    def handshake_failed(self, error: HandshakeError, has_ended: bool, /) -> None:
        """Log it, and close once the client has read the alert."""
        self._services.registry.remove_client(self)
        report_failure(self._services, self._address, error)
        if has_ended:
            self._services.registry.lingering.add(self)
            self._stream.close()
        else:
            LingeringClose(self._services, self._stream)

    def connection_lost(self, _error: Exception | None, /) -> None:
        """Leave the registry."""
        registry = self._services.registry
        registry.remove_client(self)
        registry.lingering.discard(self)
        self._services.client_gone(self._stream)

    def deadline_passed(self) -> None:
        """Log it, and abort."""
        if not self._stream.is_closing():
            report_failure(self._services, self._address, _TOO_LATE)
        self._stream.abort()

    def drain(self) -> None:
        """Let the client finish its handshake until requests are refused."""
        if self._services.registry.is_refusing:
            self._stream.abort()

    def abort(self) -> None:
        """Abort the connection."""
        self._stream.abort()
