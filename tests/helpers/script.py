"""Dialogue tests: who says what, and who gets what, step by step and byte for byte.

    async with stage() as on:
        client = await on.client()
        await client.says(head("GET / HTTP/1.1", "Host: a", ROUTE))
        upstream = await on.upstream()
        await upstream.gets(head("GET / HTTP/1.1", "Host: a"))

Every step waits for what it names and for nothing else, so that a proxy that holds bytes back
fails, and so does one that adds some: what a peer got beyond what the test asked for fails it in
the end. A failure shows the whole dialogue and how the last step differs.
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

# The routing header that names the upstream of the stage.
ROUTE: Final = "X-Cmux-Port-Internal: <port>"

_PATIENT: Final = local_config(timeouts=Timeouts(upstream_idle=10 * SOON))
# So much of a message is shown when a step fails.
_SHOWN: Final = 2000

T = TypeVar("T")


def head(*lines: str) -> bytes:
    """Return the lines as a head, blank line included."""
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def get(path: str = "/", *fields: str, version: str = "1.1") -> bytes:
    """Return a GET request for the upstream of the stage."""
    return head(f"GET {path} HTTP/{version}", "Host: a", ROUTE, *fields)


class DialogueError(AssertionError):
    """A step of the dialogue went otherwise than told."""


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
        """Send bytes, <port> replaced by the upstream's port."""
        data = self._dialogue.expand(data)
        self._dialogue.note(self.name, "says", data)
        await self._dialogue.bounded(self.wire.send(data), f"{self.name} cannot send")

    async def gets(self, expected: bytes) -> None:
        """Receive exactly these bytes next."""
        expected = self._dialogue.expand(expected)
        while len(self._pending) < len(expected) and expected.startswith(self._pending):
            if not await self._read_for(expected):
                break
        if not self._pending.startswith(expected):
            self._pending += self.wire.take_arrived()
            self._fail(expected)
        self._take(len(expected))

    async def gets_head(self) -> bytes:
        """Receive a head, whatever it says, and return it."""
        while b"\r\n\r\n" not in self._pending:
            if not await self._read_for(b"(a head)"):
                self._fail(b"(a head)")
        return self._take(self._pending.index(b"\r\n\r\n") + 4)

    async def gets_bytes(self, count: int) -> bytes:
        """Receive so many bytes, whatever they are, and return them."""
        wanted = b"(%d bytes)" % count
        pieces = [self._pending]
        missing = count - len(self._pending)
        self._pending = b""
        while missing > 0:
            data = await self._read_for(wanted)
            self._pending = b""
            if not data:
                self._pending = b"".join(pieces)
                self._fail(wanted)
            pieces.append(data)
            missing -= len(data)
        self._pending = b"".join(pieces)
        return self._take(count)

    async def gets_end(self) -> None:
        """Receive the other's end, and nothing before it."""
        while not self._has_end and not self._pending:
            await self._read_for(b"")
        if self._pending:
            self._fail(b"")
        self._dialogue.note(self.name, "gets the end")

    async def gets_reset(self) -> None:
        """Receive a reset, and nothing before it."""
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
        """Receive an answer of the proxy's own, checked in every part; return its one line.

        `fields` are those that this answer has besides the ones that all have.
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

    async def says_until_cut(self, piece: bytes) -> None:
        """Send a piece again and again, until that fails because the connection is gone."""
        self._dialogue.note(self.name, "says until it is cut off", piece)
        with contextlib.suppress(ConnectionError):
            while True:
                sending = self.wire.send(piece)
                await self._dialogue.bounded(sending, f"{self.name} cannot send any more")
                await asyncio.sleep(0)

    def ends(self) -> None:
        """Send our end and go on receiving."""
        self._dialogue.note(self.name, "ends")
        self.wire.end()

    def closes(self) -> None:
        """Go away."""
        self._dialogue.note(self.name, "closes")
        self._is_checked = False
        self.wire.close()

    def resets(self) -> None:
        """Go away with a reset."""
        self._dialogue.note(self.name, "resets")
        self._is_checked = False
        self.wire.reset()

    def ignores_the_rest(self) -> None:
        """Whatever else arrives is of no interest."""
        self._is_checked = False

    def check_rest(self) -> None:
        """Fail if something has arrived that the test did not ask for."""
        if self._is_checked:
            rest = self._pending + self.wire.take_arrived()
            if rest:
                self._pending = rest
                self._fail(b"")

    async def _read_for(self, expected: bytes) -> bytes:
        try:
            return await self._read(repr(expected[:_SHOWN]))
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
    """A proxy and a listening upstream; dialogues are played on it."""

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
        """Return a client that has asked, by GET / or with the request given, and its upstream."""
        client = await self.client()
        await client.says(get() if request is None else request)
        upstream = await self.upstream()
        if request is None:
            await upstream.gets(head("GET / HTTP/1.1", "Host: a"))
        return client, upstream

    async def posted(self, *fields: str, body: bytes = b"") -> tuple[Peer, Peer]:
        """Return a client that has sent a POST with these fields, and the upstream that has it."""
        request = head("POST / HTTP/1.1", "Host: a", ROUTE, *fields) + body
        client, upstream = await self.pair(request)
        await upstream.gets(head("POST / HTTP/1.1", "Host: a", *fields) + body)
        return client, upstream

    async def tunnel(self) -> tuple[Peer, Peer]:
        """Return both ends of a tunnel that a CONNECT opened."""
        client = await self.client()
        await client.says(head("CONNECT a:1 HTTP/1.1", "Host: a:1", ROUTE))
        upstream = await self.upstream()
        await client.gets(ESTABLISHED)
        return client, upstream

    async def websocket(self) -> tuple[Peer, Peer]:
        """Return both ends of a tunnel that an upgrade opened."""
        client, upstream = await self.pair(UPGRADE)
        await upstream.gets(UPGRADE.replace(ROUTE.encode() + b"\r\n", b""))
        await upstream.says(SWITCHING)
        await client.gets(SWITCHING)
        return client, upstream

    async def nothing_reached_upstream(self) -> None:
        """Fail unless the next thing the upstream ever sees is a request that is made now."""
        client = await self.client()
        await client.says(head("GET /now HTTP/1.1", "Host: now", ROUTE))
        upstream = await self.upstream()
        await upstream.gets(head("GET /now HTTP/1.1", "Host: now"))
        await upstream.says(head("HTTP/1.1 204 No Content"))
        await client.gets(head("HTTP/1.1 204 No Content"))
        client.closes()

    async def serves(self) -> None:
        """Fail unless a new client is served by a new upstream connection, or the pool's."""
        client = await self.client()
        await client.says(head("GET / HTTP/1.1", "Host: a", "X-Cmux-Port-Internal: 0"))
        await client.gets_error(400, "http_request_error")
        client.closes()

    def check(self) -> None:
        """Fail if a peer got more than was asked for."""
        for peer in self._peers:
            peer.check_rest()

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
    """Set up a proxy and an upstream; with `buffer`, the upstream's kernel holds little.

    Unless a configuration is given, idle connections to the upstream stay for longer than any step
    waits, so that an end is never theirs.
    """
    with (
        closed_port() as port,
        contextlib.closing(WireListener(upstream_host, port, buffer)) as listener,
    ):
        async with Proxy(_PATIENT if config is None else config) as proxy:
            on = Stage(proxy, listener)
            try:
                yield on
                on.check()
            finally:
                on.close()


class _Dialogue:
    """What was said so far."""

    def __init__(self, port: int) -> None:
        self._port = str(port).encode("ascii")
        self._steps: list[tuple[str, str, bytes | None]] = []

    def expand(self, data: bytes) -> bytes:
        return data.replace(b"<port>", self._port)

    def note(self, who: str, does: str, data: bytes | None = None) -> None:
        self._steps.append((who, does, data))

    async def bounded(self, what: Awaitable[T], waiting: str) -> T:
        try:
            async with asyncio.timeout(SOON):
                return await what
        except TimeoutError:
            raise DialogueError("\n".join([*self._told(), f"{waiting}, in vain"])) from None

    def fail(self, who: str, expected: bytes, came: bytes, has_end: bool) -> NoReturn:
        lines = [*self._told(), f"{who} expected (-) and got (+):"]
        lines += difflib.ndiff(_lines(expected), _lines(came))
        lines.append("and then the end" if has_end else "and nothing more so far")
        raise DialogueError("\n".join(lines))

    def _told(self) -> list[str]:
        lines = ["The dialogue:"]
        for who, does, data in self._steps:
            lines.append(f"  {who} {does}")
            if data is not None:
                lines += [f"      {line}" for line in _lines(data)]
        return lines


def _lines(data: bytes) -> list[str]:
    shown = [repr(line)[1:] for line in data[:_SHOWN].splitlines(keepends=True)]
    if len(data) > _SHOWN:
        shown.append(f"... {len(data)} bytes in all")
    return shown
