"""What streams can do on both event loops: plain TCP, and TLS whose socket lies beneath it."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from cmux_proxy.net.asyncio_backend import (
    alpn,
    can_half_close,
    is_asyncio,
    may_splice,
    open_stream,
    raw_fd,
    raw_socket,
    scheme,
    start_task,
)
from cmux_proxy.net.closing import reset
from cmux_proxy.net.peer import peer_of
from cmux_proxy.net.stream import FirstOwner, Stream
from tests.helpers.authority import Authority
from tests.helpers.sockets import pair, stream_of
from tests.helpers.timing import soon
from tests.helpers.wire import Wire, WireListener


class Owner:
    """An owner that is no protocol of asyncio's; `made` and `lost` are futures."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.made: asyncio.Future[Stream] = loop.create_future()
        self.lost: asyncio.Future[Exception | None] = loop.create_future()
        self.received = b""

    def connection_made(self, stream: Stream, /) -> None:
        self.made.set_result(stream)

    def data_received(self, data: bytes, /) -> None:
        self.received += data

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None, /) -> None:
        self.lost.set_result(error)

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...


@dataclass
class Ends:
    """Both ends of one connection, and their owners."""

    client: Stream
    server: Stream
    client_owner: Owner
    server_owner: Owner


@contextlib.asynccontextmanager
async def connected(
    client_tls: ssl.SSLContext | None = None, server_tls: ssl.SSLContext | None = None
) -> AsyncIterator[Ends]:
    """Connect a stream to another; with TLS where contexts are given."""
    loop = asyncio.get_running_loop()
    client, server = Owner(), Owner()

    def factory(owner: FirstOwner) -> asyncio.BaseProtocol:
        return cast(asyncio.BaseProtocol, owner)

    listener = await loop.create_server(lambda: factory(server), "127.0.0.1", 0, ssl=server_tls)
    await loop.create_connection(
        lambda: factory(client),
        *listener.sockets[0].getsockname(),
        ssl=client_tls,
        server_hostname="127.0.0.1" if client_tls else None,
    )
    ends = Ends(await soon(client.made), await soon(server.made), client, server)
    try:
        yield ends
    finally:
        ends.client.abort()
        await soon(client.lost)
        await soon(server.lost)
        listener.close()
        await listener.wait_closed()


@contextlib.asynccontextmanager
async def encrypted(folder: Path, protocols: list[str]) -> AsyncIterator[Ends]:
    """Connect a stream of TLS to another; the client offers `protocols`."""
    authority = await Authority.make(folder)
    server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_tls.load_cert_chain(await authority.issue("127.0.0.1"))
    server_tls.set_alpn_protocols(["h2", "http/1.1"])
    client_tls = ssl.create_default_context(cafile=str(authority.path))
    if protocols:
        client_tls.set_alpn_protocols(protocols)
    async with connected(client_tls, server_tls) as ends:
        yield ends


async def test_plain_tcp_has_a_half_close_and_may_be_spliced() -> None:
    async with connected() as ends:
        for stream in (ends.client, ends.server):
            assert can_half_close(stream)
            assert may_splice(stream)
            sock = raw_socket(stream)
            assert sock is not None
            assert raw_fd(stream) == sock.fileno()
            assert scheme(stream) == "http"
            assert alpn(stream) is None
            assert peer_of(stream) == "127.0.0.1"
        ends.client.write_eof()
        await soon(ends.server_owner.lost)


async def test_tls_has_neither_and_its_socket_is_not_its_own(tmp_path: Path) -> None:
    async with encrypted(tmp_path, []) as ends:
        for stream in (ends.client, ends.server):
            assert not can_half_close(stream)
            with pytest.raises(NotImplementedError):
                stream.write_eof()
            # The loops hand out the socket beneath, through which ciphertext passes.
            assert raw_socket(stream) is not None
            assert raw_fd(stream) == -1
            assert not may_splice(stream)
            assert scheme(stream) == "https"
            assert alpn(stream) is None
            assert peer_of(stream) == "127.0.0.1"


@pytest.mark.parametrize("protocol", ["h2", "http/1.1"])
async def test_tls_knows_the_protocol_that_both_ends_have_chosen(
    tmp_path: Path, protocol: str
) -> None:
    async with encrypted(tmp_path, [protocol]) as ends:
        assert alpn(ends.client) == alpn(ends.server) == protocol


async def test_a_reset_of_tls_resets_the_connection_beneath(tmp_path: Path) -> None:
    async with encrypted(tmp_path, []) as ends:
        reset(ends.client)
        error = await soon(ends.server_owner.lost)
        assert isinstance(error, ConnectionResetError)


async def test_a_stream_that_closes_has_no_descriptor() -> None:
    async with connected() as ends:
        ends.client.close()
        assert raw_fd(ends.client) == -1
        assert not may_splice(ends.client)


def test_a_socket_that_is_closed_or_missing_is_none() -> None:
    with pair() as (_peer, ours):
        assert raw_socket(stream_of(ours)) is ours
    assert raw_socket(stream_of(ours)) is None
    assert raw_socket(stream_of(None)) is None


async def test_a_stream_is_made_of_a_connected_socket_and_reports_to_its_owner() -> None:
    owner = Owner()
    with contextlib.closing(WireListener()) as listener:
        sock = socket.create_connection((listener.host, listener.port))
        sock.setblocking(False)
        await soon(open_stream(asyncio.get_running_loop(), sock, owner))
        with await soon(listener.accept()) as wire:
            await wire.send(b"hello")
        assert await soon(owner.lost) is None
    assert owner.received == b"hello"


async def test_a_socket_whose_stream_is_lost_at_once_is_not_closed_twice() -> None:
    class Losing(Owner):
        def connection_made(self, stream: Stream, /) -> None:
            stream.abort()

    owner = Losing()
    with contextlib.closing(WireListener()) as listener:
        wire = await Wire.to(listener.host, listener.port)
        await soon(open_stream(asyncio.get_running_loop(), wire.sock, owner))
        await soon(owner.lost)
        # Its number may be another connection's by now.
        assert wire.sock.fileno() == -1


async def test_a_task_runs_in_the_background_until_it_is_cancelled() -> None:
    loop = asyncio.get_running_loop()
    events: list[str] = []
    started, ended = asyncio.Event(), asyncio.Event()

    async def main() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            events.append("over")
            ended.set()

    task = start_task(loop, main())
    await soon(started.wait())
    task.cancel()
    await soon(ended.wait())
    assert events == ["over"]


async def test_the_loops_are_told_apart(loop_name: str) -> None:
    assert is_asyncio(asyncio.get_running_loop()) == ("uvloop" not in loop_name)
