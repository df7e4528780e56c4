"""Dialogue tests: what each peer sends and receives, step by step and byte for byte.

    async with stage() as on:
        client = await on.client()
        await client.says(head("GET / HTTP/1.1", "Host: a", ROUTE))
        upstream = await on.upstream()
        await upstream.gets(head("GET / HTTP/1.1", "Host: a"))

Every step waits for exactly the bytes that it names. A proxy that holds bytes back fails the step.
A proxy that adds bytes fails the test at its end, because no step has received them. A failure
shows the complete dialogue and how the last step differs.
"""

import asyncio
import contextlib
import difflib
import re
from collections.abc import AsyncIterator, Awaitable
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final, NoReturn, TypeVar

from cmux_proxy import Config, Proxy, Timeouts
from tests.helpers.proxies import local_config
from tests.helpers.timing import SOON
from tests.helpers.wire import Wire, WireListener, closed_port

# The routing field with the port of the stage's upstream.
ROUTE: Final = "X-Cmux-Port-Internal: <port>"

_LONG_IDLE: Final = local_config(timeouts=Timeouts(upstream_idle=10 * SOON))
# A failure shows at most this many bytes of a message.
_MAX_SHOWN: Final = 2000

T = TypeVar("T")


def head(*lines: str) -> bytes:
    """Return the lines as a head, including the blank line."""
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def get(path: str = "/", *fields: str, version: str = "1.1") -> bytes:
    """Return a GET request for the upstream of the stage."""
    return head(f"GET {path} HTTP/{version}", "Host: a", ROUTE, *fields)


class DialogueError(AssertionError):
    """A peer did not get what a step of the dialogue expects."""


class Peer:
    """The client or the upstream of a dialogue."""

    def __init__(self, name: str, wire: Wire, dialogue: "_Dialogue") -> None:
        self.name = name
        self.wire = wire
        self._dialogue = dialogue
        self._pending = b""
        self._has_end = False
        self._is_checked = True

    async def says(self, data: bytes) -> None:
        """Send bytes; `<port>` in them becomes the upstream's port."""
        data = self._dialogue.expand(data)
        self._dialogue.note(self.name, "says", data)
        await self._dialogue.bounded(self.wire.send(data), f"{self.name} cannot send")

    async def gets(self, expected: bytes) -> None:
        """Receive exactly these bytes."""
        expected = self._dialogue.expand(expected)
        while len(self._pending) < len(expected) and expected.startswith(self._pending):
            if not await self._read_for(expected):
                break
        if not self._pending.startswith(expected):
            self._pending += self.wire.take_arrived()
            self._fail(expected)
        self._take(len(expected))

    async def gets_head(self) -> bytes:
        """Receive any head and return it."""
        while b"\r\n\r\n" not in self._pending:
            if not await self._read_for(b"(a head)"):
                self._fail(b"(a head)")
        return self._take(self._pending.index(b"\r\n\r\n") + 4)

    async def gets_bytes(self, count: int) -> bytes:
        """Receive `count` bytes of any value and return them."""
        description = b"(%d bytes)" % count
        chunks = [self._pending]
        missing = count - len(self._pending)
        self._pending = b""
        while missing > 0:
            data = await self._read_for(description)
            self._pending = b""
            if not data:
                self._pending = b"".join(chunks)
                self._fail(description)
            chunks.append(data)
            missing -= len(data)
        self._pending = b"".join(chunks)
        return self._take(count)

    async def gets_end(self) -> None:
        """Receive the end of the stream, and no bytes before it."""
        while not self._has_end and not self._pending:
            await self._read_for(b"")
        if self._pending:
            self._fail(b"")
        self._dialogue.note(self.name, "gets the end")

    async def gets_reset(self) -> None:
        """Receive a reset, and no bytes before it."""
        try:
            while await self._read("a reset"):
                pass
        except ConnectionResetError:
            self._dialogue.note(self.name, "gets a reset")
        else:
            self._fail(b"(a reset)")
        if self._pending:
            self._fail(b"")

    async def gets_cut(self) -> bytes:
        """Receive some bytes and then an end or a reset; return the bytes."""
        with contextlib.suppress(ConnectionResetError):
            while await self._read("an end or a reset"):
                pass
        return self._take(len(self._pending))

    async def gets_error(
        self, status: int, error: str, *fields: str, with_body: bool = True, closes: bool = False
    ) -> str:
        """Receive an error response of the proxy, check every part of it, and return its line.

        `fields` are the fields that it has in addition to those of every error.
        """
        data = await self.gets_head()
        match = re.search(rb"\r\nContent-Length: ([0-9]+)\r\n", data)
        if match is None:
            raise DialogueError(f"an error without Content-Length: {data!r}")
        dates = re.findall(r"^Date: (.*)\r$", data.decode("ascii"), re.MULTILINE)
        if len(dates) != 1 or not dates[0].endswith(" GMT"):
            raise DialogueError(f"an error without a date: {data!r}")
        parsedate_to_datetime(dates[0])
        expected = head(
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
            "Content-Type: text/plain; charset=utf-8",
            f"Content-Length: {int(match[1])}",
            "Cache-Control: no-store",
            f"Proxy-Status: cmux-proxy; error={error}",
            f"Date: {dates[0]}",
            *fields,
            *(["Connection: close"] if closes else []),
        )
        if data != expected:
            self._pending = data + self._pending
            self._fail(expected)
        text = ""
        if with_body:
            text = (await self.gets_bytes(int(match[1]))).decode("utf-8")
            if text.count("\n") != 1 or not text.endswith("\n") or len(text) < 2:
                raise DialogueError(f"the body of an error is not one line: {text!r}")
        if closes:
            await self.gets_end()
        return text.removesuffix("\n")

    async def says_until_cut(self, data: bytes) -> None:
        """Send the bytes repeatedly until sending fails because the connection is closed."""
        self._dialogue.note(self.name, "says until the connection is closed", data)
        with contextlib.suppress(ConnectionError):
            while True:
                sending = self.wire.send(data)
                await self._dialogue.bounded(sending, f"{self.name} cannot send any more")
                await asyncio.sleep(0)

    def ends(self) -> None:
        """Half-close: end the sending direction; receiving goes on."""
        self._dialogue.note(self.name, "ends")
        self.wire.end()

    def closes(self) -> None:
        """Close the connection."""
        self._dialogue.note(self.name, "closes")
        self._is_checked = False
        self.wire.close()

    def resets(self) -> None:
        """Close the connection with a reset."""
        self._dialogue.note(self.name, "resets")
        self._is_checked = False
        self.wire.reset()

    def ignores_more(self) -> None:
        """Do not fail because of further bytes."""
        self._is_checked = False

    def check_nothing_more(self) -> None:
        """Fail if bytes have arrived that no step has received."""
        if self._is_checked:
            unexpected = self._pending + self.wire.take_arrived()
            if unexpected:
                self._pending = unexpected
                self._fail(b"")

    async def _read_for(self, expected: bytes) -> bytes:
        try:
            return await self._read(repr(expected[:_MAX_SHOWN]))
        except ConnectionResetError:
            self._dialogue.note(self.name, "gets a reset")
            self._fail(expected)

    async def _read(self, waiting_for: str) -> bytes:
        data = await self._dialogue.bounded(
            self.wire.receive(), f"{self.name} has {self._pending!r} and waits for {waiting_for}"
        )
        self._pending += data
        self._has_end = not data
        return data

    def _take(self, count: int) -> bytes:
        data, self._pending = self._pending[:count], self._pending[count:]
        self._dialogue.note(self.name, "gets", data)
        return data

    def _fail(self, expected: bytes) -> NoReturn:
        self._dialogue.fail(self.name, expected, self._pending, self._has_end)


class Stage:
    """A proxy and a listening upstream, between which a dialogue takes place."""

    def __init__(self, proxy: Proxy, listener: WireListener) -> None:
        self.proxy = proxy
        self.listener = listener
        self.port = listener.port
        self.address = proxy.addresses[0]
        self._dialogue = _Dialogue(listener.port)
        self._peers: list[Peer] = []

    async def client(self, buffer: int | None = None) -> Peer:
        """Connect a client."""
        if self.address.path:
            return self._add("client", await Wire.to_path(self.address.path))
        wire = await Wire.to(self.address.host, self.address.port, buffer)
        return self._add("client", wire)

    async def upstream(self) -> Peer:
        """Accept the proxy's next connection."""
        wire = await self._dialogue.bounded(
            self.listener.accept(), "the upstream waits for a connection"
        )
        return self._add("upstream", wire)

    async def pair(self, request: bytes | None = None) -> tuple[Peer, Peer]:
        """Send a request, GET / by default; return the client and the upstream that has it."""
        client = await self.client()
        await client.says(get() if request is None else request)
        upstream = await self.upstream()
        if request is None:
            await upstream.gets(head("GET / HTTP/1.1", "Host: a"))
        return client, upstream

    async def post(self, *fields: str, body: bytes = b"") -> tuple[Peer, Peer]:
        """Send a POST with these fields; return the client and the upstream that has it."""
        request = head("POST / HTTP/1.1", "Host: a", ROUTE, *fields) + body
        client, upstream = await self.pair(request)
        await upstream.gets(head("POST / HTTP/1.1", "Host: a", *fields) + body)
        return client, upstream

    async def tunnel(self) -> tuple[Peer, Peer]:
        """Open a tunnel with CONNECT; return its client and its upstream."""
        client = await self.client()
        await client.says(head("CONNECT a:1 HTTP/1.1", "Host: a:1", ROUTE))
        upstream = await self.upstream()
        await client.gets(ESTABLISHED)
        return client, upstream

    async def websocket(self) -> tuple[Peer, Peer]:
        """Open a tunnel with an upgrade; return its client and its upstream."""
        client, upstream = await self.pair(UPGRADE)
        await upstream.gets(UPGRADE.replace(ROUTE.encode() + b"\r\n", b""))
        await upstream.says(SWITCHING)
        await client.gets(SWITCHING)
        return client, upstream

    async def nothing_reached_upstream(self) -> None:
        """Fail unless the next request that reaches the upstream is the one that is sent now."""
        client = await self.client()
        await client.says(head("GET /now HTTP/1.1", "Host: now", ROUTE))
        upstream = await self.upstream()
        await upstream.gets(head("GET /now HTTP/1.1", "Host: now"))
        await upstream.says(head("HTTP/1.1 204 No Content"))
        await client.gets(head("HTTP/1.1 204 No Content"))
        client.closes()

    async def serves(self) -> None:
        """Fail unless the proxy responds to a new client."""
        client = await self.client()
        await client.says(head("GET / HTTP/1.1", "Host: a", "X-Cmux-Port-Internal: 0"))
        await client.gets_error(400, "http_request_error")
        client.closes()

    def check(self) -> None:
        """Fail if a peer has bytes that no step has received."""
        for peer in self._peers:
            peer.check_nothing_more()

    def close(self) -> None:
        """Close all sockets."""
        for peer in self._peers:
            peer.wire.close()
        self.listener.close()

    def _add(self, name: str, wire: Wire) -> Peer:
        number = sum(peer.name.startswith(name) for peer in self._peers)
        peer = Peer(f"{name} {number + 1}" if number else name, wire, self._dialogue)
        self._peers.append(peer)
        return peer


ESTABLISHED: Final = head("HTTP/1.1 200 Connection established")
UPGRADE: Final = head(
    "GET /chat HTTP/1.1",
    "Host: a",
    ROUTE,
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
)
SWITCHING: Final = head(
    "HTTP/1.1 101 Switching Protocols",
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
)


@contextlib.asynccontextmanager
async def stage(
    config: Config | None = None, upstream_host: str = "127.0.0.1", buffer: int | None = None
) -> AsyncIterator[Stage]:
    """Start a proxy and an upstream; `buffer` is the size of the upstream's socket buffers.

    In the default configuration, idle connections to the upstream stay open for longer than any
    step waits, so that no idle timeout closes one during a test.
    """
    with (
        closed_port() as port,
        contextlib.closing(WireListener(upstream_host, port, buffer)) as listener,
    ):
        async with Proxy(_LONG_IDLE if config is None else config) as proxy:
            on = Stage(proxy, listener)
            try:
                yield on
                on.check()
            finally:
                on.close()


class _Dialogue:
    """The steps so far."""

    def __init__(self, port: int) -> None:
        self._port = str(port).encode("ascii")
        self._steps: list[tuple[str, str, bytes | None]] = []

    def expand(self, data: bytes) -> bytes:
        return data.replace(b"<port>", self._port)

    def note(self, peer: str, verb: str, data: bytes | None = None) -> None:
        self._steps.append((peer, verb, data))

    async def bounded(self, awaitable: Awaitable[T], waiting: str) -> T:
        try:
            async with asyncio.timeout(SOON):
                return await awaitable
        except TimeoutError:
            raise DialogueError("\n".join([*self._transcript(), f"timeout: {waiting}"])) from None

    def fail(self, peer: str, expected: bytes, received: bytes, has_end: bool) -> NoReturn:
        lines = [*self._transcript(), f"{peer} expected (-) and got (+):"]
        lines += difflib.ndiff(_lines(expected), _lines(received))
        lines.append("and then the end" if has_end else "and nothing more so far")
        raise DialogueError("\n".join(lines))

    def _transcript(self) -> list[str]:
        lines = ["The dialogue:"]
        for peer, verb, data in self._steps:
            lines.append(f"  {peer} {verb}")
            if data is not None:
                lines += [f"      {line}" for line in _lines(data)]
        return lines


def _lines(data: bytes) -> list[str]:
    shown = [repr(line)[1:] for line in data[:_MAX_SHOWN].splitlines(keepends=True)]
    if len(data) > _MAX_SHOWN:
        shown.append(f"... {len(data)} bytes in total")
    return shown
