"""Upstreams with TLS: the connections that a listener accepts decrypt and encrypt by themselves.

    async with serving(responding(echo), TlsListener(leaf("localhost"))) as upstream:

What is sent and received is plaintext; `end` is a close_notify with the end of the half behind it.
"""

import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from typing import Final

import trustme

from tests.helpers.origins import Behaviour, Origin, serving
from tests.helpers.timing import soon
from tests.helpers.tls import TlsPeer, leaf
from tests.helpers.wire import Wire, WireListener

_READ: Final = 65536


class TlsWire(Wire):
    """One end of a connection with TLS; `peer` has its session."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        super().__init__(sock)
        self.peer = TlsPeer(context, True)

    async def send(self, data: bytes) -> None:
        """Send data, encrypted."""
        await super().send(self.peer.sends(data))

    async def receive(self, max_bytes: int = _READ) -> bytes:
        """Return what arrives next, decrypted; b"" at the close_notify."""
        peer = self.peer
        while not peer.received and not peer.has_got_end:
            peer.take(await self._receive_raw(max_bytes))
            if outgoing := peer.outgoing():
                await super().send(outgoing)
            if peer.error is not None:
                raise ConnectionError from peer.error
        data = bytes(peer.received)
        peer.received.clear()
        return data

    async def _receive_raw(self, max_bytes: int) -> bytes:
        data = await super().receive(max_bytes)
        if not data:
            raise ConnectionError("the end came without close_notify")
        return data

    async def ends(self) -> None:
        """Send close_notify, and the end of this half."""
        await super().send(self.peer.ends())
        self.end()


class TlsListener(WireListener):
    """A listening socket whose connections have TLS; `names` are the server names asked for."""

    def __init__(
        self,
        certificate: trustme.LeafCert | None = None,
        host: str = "127.0.0.1",
        protocols: tuple[str, ...] = (),
    ) -> None:
        super().__init__(host)
        self.names: list[str | None] = []
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        (certificate or leaf("localhost")).configure_cert(self.context)
        if protocols:
            self.context.set_alpn_protocols(list(protocols))
        self.context.sni_callback = lambda _session, name, _context: self.names.append(name)

    async def accept(self) -> TlsWire:
        """Return the next connection; its handshake is part of its first `receive`."""
        wire = await super().accept()
        return TlsWire(wire.sock, self.context)


@contextlib.asynccontextmanager
async def tls_origin(
    behaviour: Behaviour, certificate: trustme.LeafCert | None = None
) -> AsyncIterator[Origin]:
    """Run an upstream with TLS, which ends its connections with close_notify."""

    async def behave(connection: object) -> None:
        await behaviour(connection)  # type: ignore[arg-type]
        with contextlib.suppress(OSError):
            await soon(connection.wire.ends())  # type: ignore[attr-defined]

    async with serving(behave, TlsListener(certificate)) as upstream:
        yield upstream
