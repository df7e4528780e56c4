"""TLS from a subcommand to a proxy, as a pair of asyncio's streams that has a half-close.

The TLS of asyncio has none, so that a tunnel would end with its first direction. Does not know what
the streams carry. Neighbours: `open_tunnel.py` has the errors, `net/tls_stream.py` the session.
"""

import asyncio
import ssl
from typing import cast

from cmux_proxy.net.read_buffer import ReadSize
from cmux_proxy.net.stream import FirstOwner, Stream
from cmux_proxy.net.tls_engine import TlsEngine
from cmux_proxy.net.tls_errors import HandshakeError
from cmux_proxy.net.tls_handshake import TlsHandshake
from cmux_proxy.net.tls_stream import TlsStream

_READ_SIZE = 256 * 1024


async def start_tls(
    writer: asyncio.StreamWriter, name: str, limit: int
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Return the streams of a session over a connection from which nothing was read.

    `name` is that in the certificate, `limit` is that of the new reader. Raise ssl.SSLError or
    OSError; the connection stays open then.
    """
    loop = asyncio.get_running_loop()
    engine = TlsEngine(ssl.create_default_context(), False, name)
    inner = cast(Stream, writer.transport)
    session = _Session(engine, _Reading(writer, limit))
    handshake = TlsHandshake(loop, inner, engine, False, session, ReadSize(True, _READ_SIZE))
    handshake.start(b"")
    stream = await session.opened
    reading = session.reading
    transport = cast(asyncio.WriteTransport, stream)
    return reading.reader, asyncio.StreamWriter(transport, reading, reading.reader, loop)


class _Reading(asyncio.StreamReaderProtocol):
    """Fills a reader; `beneath` closes its connection when it is collected, and is kept here."""

    def __init__(self, beneath: asyncio.StreamWriter, limit: int) -> None:
        self.reader = asyncio.StreamReader(limit=limit)
        super().__init__(self.reader)
        self._beneath = beneath

    def eof_received(self) -> bool:
        """Stay open for our half, which asyncio's TLS could not."""
        super().eof_received()
        return True


class _Session:
    """The outcome of a handshake."""

    def __init__(self, engine: TlsEngine, reading: _Reading) -> None:
        self.opened: asyncio.Future[TlsStream] = asyncio.get_running_loop().create_future()
        self.reading = reading
        self._engine = engine

    def handshake_done(self, stream: TlsStream, is_write_paused: bool, /) -> None:
        """Take the session."""
        stream.start(cast(FirstOwner, self.reading), is_write_paused)
        if not self.opened.done():
            self.opened.set_result(stream)

    def handshake_failed(self, error: HandshakeError, _has_ended: bool, /) -> None:
        """Raise what OpenSSL says, which names what is wrong with a certificate."""
        self._fail(self._engine.failure or ConnectionError(error.text))

    def connection_lost(self, error: Exception | None, /) -> None:
        """Raise the error of the connection."""
        self._fail(error or ConnectionError("the connection was closed"))

    def _fail(self, error: Exception) -> None:
        if not self.opened.done():
            self.opened.set_exception(error)
