"""TLS as a stream over the sockets of every event loop, with clients of Python's ssl module."""

import asyncio
import contextlib
import gc
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import pytest

from cmux_proxy.net.backends import make_backend
from cmux_proxy.net.closing import reset, send_end
from cmux_proxy.net.disconnects import DisconnectDetector
from cmux_proxy.net.read_buffer import ReadSize
from cmux_proxy.net.socket_queues import count_unread, is_behind
from cmux_proxy.net.stream import Stream
from cmux_proxy.net.timers import Timed, Unread
from cmux_proxy.net.tls_engine import TlsEngine
from cmux_proxy.net.tls_errors import HandshakeError
from cmux_proxy.net.tls_handshake import TlsHandshake
from cmux_proxy.net.tls_stream import TlsStream
from tests.helpers.sockets import pair
from tests.helpers.timing import SOON, soon
from tests.helpers.tls import CUTS, TLS_1_2, TLS_1_3, TlsClient, contexts
from tests.helpers.wire import Wire

VERSIONS = pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3], ids=["1.2", "1.3"])
LARGE = bytes(range(256)) * (4 * 4096)


class Echo:
    """Owns a session, and sends back what it gets, in no more than one write that waits."""

    def __init__(self) -> None:
        self.stream: Any = None
        self.received = 0
        self.pauses = 0
        self.stays_open = True
        self.made = asyncio.Event()
        self.ended = asyncio.Event()
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    def connection_made(self, stream: Any, /) -> None:
        self.stream = stream
        stream.set_write_buffer_limits(high=0)
        self.made.set()

    def data_received(self, data: bytes, /) -> None:
        self.received += len(data)
        self.stream.write(data)

    def eof_received(self) -> bool:
        self.ended.set()
        return self.stays_open

    def connection_lost(self, error: Exception | None, /) -> None:
        self.lost.set_result(error)

    def pause_writing(self) -> None:
        self.pauses += 1
        self.stream.pause_reading()

    def resume_writing(self) -> None:
        self.stream.resume_reading()


class Server:
    """Owns a connection, and makes a session of it."""

    def __init__(self, context: ssl.SSLContext, read_size: ReadSize) -> None:
        self.owner = Echo()
        self.failure: HandshakeError | None = None
        self._context = context
        self._read_size = read_size

    def connection_made(self, stream: Stream, /) -> None:
        self.stream = stream
        self._read_size.limit(stream, self)
        loop = asyncio.get_running_loop()
        engine = TlsEngine(self._context, True)
        TlsHandshake(loop, stream, engine, True, self, self._read_size).start(b"")

    def handshake_done(self, stream: TlsStream, is_write_paused: bool, /) -> None:
        self._read_size.limit(stream, self.owner)
        stream.start(self.owner, is_write_paused)

    def handshake_failed(self, error: HandshakeError, has_ended: bool, /) -> None:
        self.failure = error

    def data_received(self, data: bytes, /) -> None: ...

    def eof_received(self) -> bool:
        return True

    def connection_lost(self, error: Exception | None, /) -> None:
        self.owner.lost.set_result(error)

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...


class Client(TlsClient):
    """A client of an `Echo`."""

    def __init__(self, wire: Wire, context: ssl.SSLContext, owner: Echo) -> None:
        super().__init__(wire, context)
        self._owner = owner

    async def open(self, how: str = "whole") -> None:
        """Shake hands, and wait for the server to have done so."""
        await super().open(how)
        await soon(self._owner.made.wait())


@contextlib.asynccontextmanager
async def served(
    version: ssl.TLSVersion = TLS_1_3, max_bytes: int = 65536
) -> AsyncIterator[tuple[Client, Echo]]:
    """Open a session between a client and an `Echo`."""
    ours, theirs = contexts(version)
    backend = make_backend(asyncio.get_running_loop(), True)
    with pair() as (client, sock):
        sock.setblocking(False)
        server = Server(ours, ReadSize(backend.has_read_size, max_bytes))
        await backend.open_stream(sock, server)
        try:
            yield Client(Wire(client), theirs, server.owner), server.owner
        finally:
            server.stream.abort()
            await soon(server.owner.lost)
            backend.close()


async def until(is_reached: Callable[[], bool]) -> None:
    """Let the loop turn until something is true."""
    async with asyncio.timeout(SOON):
        while not is_reached():  # noqa: ASYNC110
            await asyncio.sleep(0)


@VERSIONS
@pytest.mark.parametrize("how", CUTS)
async def test_a_session_is_opened_and_echoes(version: ssl.TLSVersion, how: str) -> None:
    async with served(version) as (client, _owner):
        await client.open(how)
        await client.send(b"hello", how)
        assert await client.receive(5) == b"hello"


@VERSIONS
@pytest.mark.parametrize("max_bytes", [12_288, 65_536, 262_144])
async def test_megabytes_pass_both_ways_with_a_write_buffer_of_zero(
    version: ssl.TLSVersion, max_bytes: int
) -> None:
    async with served(version, max_bytes) as (client, owner):
        await client.open()
        sending = client.send_aside(LARGE)
        assert await client.receive(len(LARGE)) == LARGE
        await soon(sending)
        assert owner.received == len(LARGE)


@VERSIONS
async def test_a_client_that_does_not_read_is_not_read(version: ssl.TLSVersion) -> None:
    async with served(version) as (client, owner):
        await client.open()
        sending = client.send_aside(LARGE * 4)
        await until(lambda: owner.pauses > 0 and is_behind(owner.stream))
        assert 0 < owner.stream.get_write_buffer_size() < 100_000
        assert owner.received < len(LARGE * 4)
        assert count_unread(owner.stream) > 0
        assert await client.receive(len(LARGE * 4)) == LARGE * 4
        await soon(sending)


@VERSIONS
async def test_half_closes_pass_in_both_directions(version: ssl.TLSVersion) -> None:
    async with served(version) as (client, owner):
        await client.open()
        flying = client.peer.sends(LARGE[:100_000])
        assert send_end(owner.stream)
        owner.data_received = lambda data: setattr(  # type: ignore[method-assign]
            owner, "received", owner.received + len(data)
        )
        await client.send_raw(flying)
        await client.receive_all()
        # The end of the connection's half is behind close_notify.
        assert await soon(client.wire.receive()) == b""
        await client.send_raw(client.peer.ends())
        await soon(owner.ended.wait())
        assert owner.received == 100_000
        owner.stream.close()
        assert await soon(asyncio.shield(owner.lost)) is None


async def test_a_reset_is_a_reset_and_an_abort_no_orderly_end() -> None:
    async with served() as (client, owner):
        await client.open()
        reset(owner.stream)
        with pytest.raises(ConnectionResetError):
            await soon(client.wire.receive_all())
    async with served() as (client, owner):
        await client.open()
        client.wire.reset()
        assert isinstance(await soon(asyncio.shield(owner.lost)), ConnectionResetError)


async def test_a_client_that_has_left_while_it_is_not_read_is_noticed() -> None:
    # No subclass, because `Timed` may be compiled.
    class Connection:
        def __init__(self, stream: Stream) -> None:
            self._stream = stream

        def add_unread(self, unread: list[Unread]) -> None:
            unread.append(Unread(self._stream, self._stream.abort))

    class Query(contextlib.nullcontext[Any]):
        def __enter__(self) -> "Query":
            return self

        def is_peer_closed(self, sock: Any) -> bool:
            return False

    async with served() as (client, owner):
        await client.open()
        owner.stream.pause_reading()
        client.wire.reset()
        detector = DisconnectDetector([[cast(Timed, Connection(owner.stream))]], Query)

        def is_noticed() -> bool:
            detector.check()
            return owner.lost.done()

        await until(is_noticed)


async def test_a_session_that_is_over_does_not_wait_for_the_garbage_collector() -> None:
    async def use_one() -> None:
        async with served() as (client, owner):
            await client.open()
            await client.send(b"hello")
            await client.receive(5)
            await client.send_raw(client.peer.ends())
            await soon(owner.ended.wait())
            owner.stream.close()
            await soon(asyncio.shield(owner.lost))

    gc.disable()
    try:
        await use_one()
        sessions = [one for one in gc.get_objects() if isinstance(one, ssl.SSLObject)]
        assert not [session for session in sessions if session.server_side]
    finally:
        gc.enable()
