"""gRPC with its own client and server: calls of every kind, deadlines, and errors in trailers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cmux_proxy import Config, Proxy, Tls, Upstreams
from tests.helpers.proxies import local_config
from tests.helpers.timing import soon
from tests.helpers.tls import leaf, write_authority, write_pem

grpc = pytest.importorskip("grpc", reason="grpcio is not here")
aio = pytest.importorskip("grpc.aio", reason="grpcio is not here")

LARGE = bytes(range(256)) * 4000
# The proxy of the environment, and DNS, are not for loopback addresses.
OPTIONS = [("grpc.enable_http_proxy", 0), ("grpc.max_receive_message_length", -1)]


class Service(grpc.GenericRpcHandler):  # type: ignore[misc, name-defined]
    """A service of bytes; `cancelled` is set once a call that sleeps is cancelled."""

    def __init__(self) -> None:
        self.cancelled = asyncio.Event()
        self.peers: set[str] = set()
        self.deadlines: list[float] = []

    def service(self, details: Any) -> Any:
        """Return the handler of a method."""
        return {
            "/t/echo": grpc.unary_unary_rpc_method_handler(self.echo),
            "/t/fail": grpc.unary_unary_rpc_method_handler(self.fail),
            "/t/sleep": grpc.unary_unary_rpc_method_handler(self.sleep),
            "/t/count": grpc.unary_stream_rpc_method_handler(self.count),
            "/t/sum": grpc.stream_unary_rpc_method_handler(self.sum),
            "/t/talk": grpc.stream_stream_rpc_method_handler(self.talk),
            "/t/break": grpc.unary_stream_rpc_method_handler(self.break_off),
        }.get(details.method)

    async def echo(self, request: bytes, context: Any) -> bytes:
        """Return the request, with metadata at both ends."""
        self.peers.add(context.peer())
        await context.send_initial_metadata((("x-first", "1"),))
        context.set_trailing_metadata((("x-last", "2"),))
        return request

    async def fail(self, _request: bytes, context: Any) -> bytes:
        """Fail at once, which is a response of trailers alone."""
        await context.abort(grpc.StatusCode.NOT_FOUND, "no such thing: ä", (("x-why", "3"),))
        return b""

    async def sleep(self, _request: bytes, context: Any) -> bytes:
        """Never return."""
        self.deadlines.append(context.time_remaining())
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return b""

    async def count(self, request: bytes, _context: Any) -> AsyncIterator[bytes]:
        """Return a stream."""
        for number in range(int(request)):
            yield b"%d" % number

    async def sum(self, requests: AsyncIterator[bytes], _context: Any) -> bytes:
        """Take a stream."""
        return b"%d" % sum([len(request) async for request in requests])

    async def talk(self, requests: AsyncIterator[bytes], _context: Any) -> AsyncIterator[bytes]:
        """Respond to each message."""
        async for request in requests:
            yield request.upper()

    async def break_off(self, _request: bytes, context: Any) -> AsyncIterator[bytes]:
        """Fail in the middle."""
        yield b"one"
        await context.abort(grpc.StatusCode.DATA_LOSS, "lost")


@contextlib.asynccontextmanager
async def running(
    credentials: Any = None, config: Config | None = None
) -> AsyncIterator[tuple[Service, Proxy, int]]:
    """Run a service behind a proxy; the number is the port of the service."""
    service = Service()
    server = aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers((service,))
    if credentials is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    try:
        async with Proxy(config or local_config()) as proxy:
            yield service, proxy, port
    finally:
        await server.stop(None)


class Client:
    """A channel to the proxy, whose calls go to a port."""

    def __init__(
        self, proxy: Proxy, port: int, *more: tuple[str, str], credentials: Any = None
    ) -> None:
        address = f"localhost:{proxy.addresses[0].port}"
        if credentials is None:
            self.channel = aio.insecure_channel(address, options=OPTIONS)
        else:
            self.channel = aio.secure_channel(address, credentials, options=OPTIONS)
        self.metadata = (("x-cmux-port-internal", str(port)), *more)

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.channel.close()

    def call(self, kind: str, method: str, *request: Any, timeout: float = 20) -> Any:
        """Begin a call."""
        make = getattr(self.channel, kind)
        return make(f"/t/{method}")(*request, metadata=self.metadata, timeout=timeout)


async def test_unary_calls_with_metadata_at_both_ends() -> None:
    async with running() as (service, proxy, port), Client(proxy, port) as client:
        for body in (b"", b"hello", LARGE):
            call = client.call("unary_unary", "echo", body)
            assert await call == body
            assert dict(await call.initial_metadata())["x-first"] == "1"
            assert dict(await call.trailing_metadata())["x-last"] == "2"
        calls = [client.call("unary_unary", "echo", b"%d" % number) for number in range(250)]
        assert await asyncio.gather(*calls) == [b"%d" % number for number in range(250)]
        # The upstream allows any number of streams, and the proxy 100 on one connection.
        assert len(service.peers) <= 3


async def test_streams_of_every_kind() -> None:
    async with running() as (_service, proxy, port), Client(proxy, port) as client:
        call = client.call("unary_stream", "count", b"500")
        assert [message async for message in call] == [b"%d" % number for number in range(500)]

        async def messages() -> AsyncIterator[bytes]:
            for _ in range(20):
                yield LARGE

        assert await client.call("stream_unary", "sum", messages()) == b"%d" % (20 * len(LARGE))
        call = client.call("stream_stream", "talk")
        for number in range(50):
            await call.write(b"m%d" % number)
            assert await soon(call.read()) == b"M%d" % number
        await call.done_writing()
        assert await soon(call.read()) is aio.EOF
        assert await call.code() == grpc.StatusCode.OK


async def test_errors_come_in_trailers() -> None:
    async with running() as (_service, proxy, port), Client(proxy, port) as client:
        with pytest.raises(aio.AioRpcError) as caught:
            await client.call("unary_unary", "fail", b"")
        error = caught.value
        assert (error.code(), error.details()) == (grpc.StatusCode.NOT_FOUND, "no such thing: ä")
        assert dict(error.trailing_metadata())["x-why"] == "3"
        call = client.call("unary_stream", "break", b"")
        assert await soon(call.read()) == b"one"
        with pytest.raises(aio.AioRpcError) as caught:
            await soon(call.read())
        assert caught.value.code() == grpc.StatusCode.DATA_LOSS
        with pytest.raises(aio.AioRpcError) as caught:
            await client.call("unary_unary", "unknown", b"")
        assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


async def test_a_deadline_ends_a_call_on_both_sides() -> None:
    async with running() as (service, proxy, port), Client(proxy, port) as client:
        with pytest.raises(aio.AioRpcError) as caught:
            await client.call("unary_unary", "sleep", b"", timeout=0.5)
        assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        await soon(service.cancelled.wait())
        [remaining] = service.deadlines
        # That of the call, and not the one that calls of these tests have otherwise.
        assert 0 < remaining < 10
        # The connections are as good as before.
        assert await client.call("unary_unary", "echo", b"again") == b"again"


async def test_a_call_that_is_cancelled_is_cancelled_at_the_service() -> None:
    async with running() as (service, proxy, port), Client(proxy, port) as client:
        call = client.call("unary_unary", "sleep", b"")
        while not service.deadlines:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        call.cancel()
        await soon(service.cancelled.wait())


async def test_without_a_service_calls_are_unavailable() -> None:
    async with running() as (_service, proxy, _port), Client(proxy, 1) as client:
        with pytest.raises(aio.AioRpcError) as caught:
            await client.call("unary_unary", "echo", b"")
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE


async def test_a_service_with_tls(tmp_path: Path) -> None:
    chain, key = write_pem(tmp_path, "service", leaf("localhost"))
    credentials = grpc.ssl_server_credentials([(read(key), read(chain))])
    config = local_config(upstreams=Upstreams(ca=write_authority(tmp_path)))
    async with (
        running(credentials, config) as (_service, proxy, port),
        Client(proxy, port, ("x-cmux-scheme", "https")) as client,
    ):
        assert await client.call("unary_unary", "echo", LARGE) == LARGE
        assert await client.call("unary_stream", "count", b"1").read() == b"0"


async def test_a_client_with_tls(tmp_path: Path) -> None:
    chain, key = write_pem(tmp_path, "proxy", leaf("localhost"))
    credentials = grpc.ssl_channel_credentials(read(write_authority(tmp_path)))
    async with (
        running(config=local_config(tls=Tls(certs=[chain], keys=[key]))) as (service, proxy, port),
        Client(proxy, port, credentials=credentials) as client,
    ):
        assert await client.call("unary_unary", "echo", LARGE) == LARGE
        counted = [part async for part in client.call("unary_stream", "count", b"3")]
        assert counted == [b"0", b"1", b"2"]
        with pytest.raises(aio.AioRpcError) as caught:
            await client.call("unary_unary", "fail", b"")
        assert caught.value.code() == grpc.StatusCode.NOT_FOUND
        assert len(service.peers) == 1


def read(path: str) -> bytes:
    """Return the contents of a file."""
    return Path(path).read_bytes()
