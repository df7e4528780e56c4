"""Certificates of an authority for tests, and the other end of a TLS session without I/O."""

import asyncio
import datetime
import functools
import random
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import trustme

from tests.helpers.timing import soon
from tests.helpers.wire import Wire

NAME: Final = "app.example"
TLS_1_2: Final = ssl.TLSVersion.TLSv1_2
TLS_1_3: Final = ssl.TLSVersion.TLSv1_3

# How a peer's bytes are cut before they arrive.
CUTS: Final = ("whole", "byte by byte", "at random")


@functools.cache
def authority() -> trustme.CA:
    """Return the authority of all tests."""
    return trustme.CA()


@functools.cache
def leaf(*names: str) -> trustme.LeafCert:
    """Return a certificate for some names."""
    return authority().issue_cert(*names)


def expired_leaf(name: str) -> trustme.LeafCert:
    """Return a certificate whose time is over."""
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    return authority().issue_cert(name, not_before=now - 2 * day, not_after=now - day)


def not_yet_valid_leaf(name: str) -> trustme.LeafCert:
    """Return a certificate whose time has not come."""
    tomorrow = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)
    return authority().issue_cert(
        name, not_before=tomorrow, not_after=tomorrow + datetime.timedelta(days=1)
    )


def server_context(*protocols: str, asks: bool = False) -> ssl.SSLContext:
    """Return the context of a server for NAME; one that `asks` requires certificates."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf(NAME).configure_cert(context)
    if protocols:
        context.set_alpn_protocols(list(protocols))
    if asks:
        authority().configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(*protocols: str) -> ssl.SSLContext:
    """Return the context of a client that trusts the authority."""
    context = ssl.create_default_context()
    authority().configure_trust(context)
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


def contexts(version: ssl.TLSVersion) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return a context for servers and one for clients that use one version of TLS."""
    pair = server_context(), client_context()
    for context in pair:
        context.minimum_version = context.maximum_version = version
    return pair


def write_pem(folder: Path, name: str, certificate: trustme.LeafCert) -> tuple[str, str]:
    """Write a certificate with its chain and its key; return the paths of both files."""
    chain, key = folder / f"{name}.pem", folder / f"{name}.key"
    chain.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    key.write_bytes(certificate.private_key_pem.bytes())
    return str(chain), str(key)


def write_authority(folder: Path) -> str:
    """Write the certificate of the authority; return its path."""
    path = folder / "authority.pem"
    authority().cert_pem.write_to_path(str(path))
    return str(path)


def cut(data: bytes, how: str) -> Iterator[bytes]:
    """Yield the pieces of some bytes, cut in one of the ways of `CUTS`."""
    dice = random.Random(len(data))
    start = 0
    while start < len(data):
        size = {"whole": len(data), "byte by byte": 1}.get(how) or dice.randint(1, 3000)
        yield data[start : start + size]
        start += size


class TlsPeer:
    """One end of a session: takes ciphertext, and keeps what it has decrypted in `received`."""

    def __init__(
        self,
        context: ssl.SSLContext,
        is_server: bool,
        name: str | None = NAME,
        session: ssl.SSLSession | None = None,
    ) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.session = context.wrap_bio(
            self._incoming, self._outgoing, is_server, None if is_server else name, session
        )
        self.received = bytearray()
        self.is_open = False
        self.has_got_end = False
        self.error: ssl.SSLError | None = None

    def take(self, data: bytes) -> None:
        """Take ciphertext; keep an error in `error`, after which nothing is taken."""
        if self.error is not None:
            return
        self._incoming.write(data)
        try:
            if not self.is_open:
                self.session.do_handshake()
                self.is_open = True
            while part := self.session.read(65536):
                self.received += part
            self.has_got_end = True
        except ssl.SSLWantReadError:
            return
        except ssl.SSLZeroReturnError:
            self.has_got_end = True
        except ssl.SSLError as error:
            self.error = error

    def sends(self, data: bytes) -> bytes:
        """Return data as ciphertext, behind what is to be sent already."""
        self.session.write(data)
        return self.outgoing()

    def ends(self) -> bytes:
        """Return its close_notify."""
        try:
            self.session.unwrap()
        except ssl.SSLError:
            pass
        return self.outgoing()

    def outgoing(self) -> bytes:
        """Return what is to be sent."""
        return self._outgoing.read()


class TlsClient:
    """A client over a plain socket; what it has decrypted is in `peer.received`."""

    def __init__(self, wire: Wire, context: ssl.SSLContext, name: str = NAME) -> None:
        self.wire = wire
        self.peer = TlsPeer(context, False, name)

    async def open(self, how: str = "whole") -> None:
        """Shake hands."""
        self.peer.take(b"")
        while not self.peer.is_open:
            await self.send_raw(self.peer.outgoing(), how)
            self.peer.take(await soon(self.wire.receive()))
            assert self.peer.error is None
        await self.send_raw(self.peer.outgoing(), how)

    async def send(self, data: bytes, how: str = "whole") -> None:
        """Send data, encrypted."""
        await self.send_raw(self.peer.sends(data), how)

    async def send_raw(self, data: bytes, how: str = "whole") -> None:
        """Send ciphertext."""
        for piece in cut(data, how):
            await soon(self.wire.send(piece))

    def send_aside(self, data: bytes) -> asyncio.Task[None]:
        """Send data while the test goes on; the caller awaits it."""
        return asyncio.get_running_loop().create_task(self.wire.send(self.peer.sends(data)))

    async def receive(self, count: int) -> bytes:
        """Return all that was received, once it is that much."""
        while len(self.peer.received) < count:
            await self._take_next()
        return bytes(self.peer.received)

    async def receive_all(self) -> bytes:
        """Return all that was received, once the other end has sent close_notify."""
        while not self.peer.has_got_end:
            await self._take_next()
        return bytes(self.peer.received)

    async def _take_next(self) -> None:
        data = await soon(self.wire.receive())
        assert data, "the connection has ended"
        self.peer.take(data)
        assert self.peer.error is None
