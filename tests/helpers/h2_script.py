"""The dialogues of `script.py` over HTTP/2: the same tests, with a client of another protocol.

`over_http2` is a fixture. The client's bytes, which are those of HTTP/1, become frames, and the
responses become those of HTTP/1 again. What HTTP/2 does not have is skipped: HTTP/1.0, Connection
with other members than upgrade, white space around values. A stream stays one of many, so that no
error closes the connection. Upstreams get the names of fields in lower case and the host first.
"""

import re
from collections import deque
from http import HTTPStatus
from typing import Any, Final

import h2.config
import h2.connection
import h2.events
import pytest

from tests.helpers import script
from tests.helpers.script import DialogueError, Peer, Stage
from tests.helpers.wire import Wire

Field = tuple[bytes, bytes]

_REQUEST: Final = re.compile(rb"[A-Z]+ [^ ]+ HTTP/1.1\r\n")
# Of the connection in HTTP/1 alone, or said by pseudo-fields.
_DROPPED: Final = frozenset([b"host", b"connection", b"upgrade", b"transfer-encoding"])
_KEY: Final = b"sec-websocket-key"


class Http2Wire:
    """A wire whose user speaks HTTP/1, and whose other end HTTP/2."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self.sock = wire.sock
        self._h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(
                header_encoding=None,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self._h2.initiate_connection()
        self._unsent = b""
        self._stream: int | None = None
        # What is left of a body with a length; -1 in a tunnel.
        self._left = 0
        # By stream, in the order of the requests.
        self._methods: dict[int, bytes] = {}
        self._responses: deque[int] = deque()
        self._parts: dict[int, bytes] = {}
        self._ended: set[int] = set()

    # What the user sends

    async def send(self, data: bytes) -> None:
        """Send requests; bodies have a length, or are whole and chunked."""
        self._unsent += data
        while self._unsent and self._send_part():
            pass
        await self._flush()

    def _send_part(self) -> bool:
        if self._stream is not None and self._left:
            part = self._unsent if self._left < 0 else self._unsent[: self._left]
            self._unsent = self._unsent[len(part) :]
            if self._left > 0:
                self._left -= len(part)
            self._h2.send_data(self._stream, part, end_stream=self._left == 0)
            return True
        if b"\r\n\r\n" not in self._unsent:
            return False
        request, _, self._unsent = self._unsent.partition(b"\r\n\r\n")
        self._send_head(request)
        return True

    def _send_head(self, request: bytes) -> None:
        line, *lines = request.split(b"\r\n")
        method, target, version = line.split(b" ")
        fields = [_field(each) for each in lines]
        if version != b"HTTP/1.1":
            pytest.skip("HTTP/2 has no other versions")
        sent = [(name, value) for name, value in fields if name not in _DROPPED and name != _KEY]
        if any(value != value.strip() for _, value in sent):
            pytest.skip("HTTP/2 has no white space around values")
        is_upgrade = (b"connection", b"upgrade") in [(name, v.lower()) for name, v in fields]
        if any(name == b"connection" and value.lower() != b"upgrade" for name, value in fields):
            pytest.skip("HTTP/2 has no Connection")
        if is_upgrade and (b"upgrade", b"websocket") not in fields:
            pytest.skip("HTTP/2 has no other protocols")
        self._stream = stream = self._h2.get_next_available_stream_id()
        self._methods[stream] = method
        self._responses.append(stream)
        self._parts[stream] = b""
        length = next((value for name, value in sent if name == b"content-length"), b"0")
        is_chunked = (b"transfer-encoding", b"chunked") in fields
        is_tunnel = method == b"CONNECT" or is_upgrade
        self._left = -1 if is_tunnel else int(length)
        pseudo = _pseudo(method, target, dict(fields), is_upgrade)
        has_body = is_chunked or self._left != 0
        self._h2.send_headers(stream, [*pseudo, *sent], end_stream=not has_body)
        if is_chunked:
            self._send_trailers(stream)

    def _send_trailers(self, stream: int) -> None:
        """Send the trailers of an empty body."""
        assert self._unsent.startswith(b"0\r\n")
        section, _, self._unsent = self._unsent[3:].partition(b"\r\n\r\n")
        trailers = [_field(each) for each in section.split(b"\r\n") if each]
        self._h2.send_headers(stream, trailers, end_stream=True)

    async def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data:
            await self._wire.send(data)

    # What the user gets

    async def receive(self, max_bytes: int = 0) -> bytes:
        """Return bytes of the first response that is not complete; b"" at a tunnel's end."""
        while not (data := self._take()):
            if self._responses and self._responses[0] in self._ended:
                return b""
            received = await self._wire.receive()
            if not received:
                return b""
            self._feed(received)
            await self._flush()
        return data

    def take_arrived(self) -> bytes:
        """Return what has arrived, without waiting."""
        data = self._wire.take_arrived()
        if data:
            self._feed(data)
        return self._take()

    def _take(self) -> bytes:
        data = b""
        while self._responses:
            stream = self._responses[0]
            data += self._parts[stream]
            self._parts[stream] = b""
            if stream not in self._ended or len(self._responses) == 1:
                break
            self._responses.popleft()
        return data

    def _feed(self, data: bytes) -> None:
        for event in self._h2.receive_data(data):
            stream: Any = getattr(event, "stream_id", None)
            if isinstance(event, h2.events.ResponseReceived):
                self._parts[stream] += self._response_head(stream, event.headers)
            elif isinstance(event, h2.events.DataReceived):
                self._parts[stream] += event.data
                if event.flow_controlled_length:
                    self._h2.acknowledge_received_data(event.flow_controlled_length, stream)
            elif isinstance(event, h2.events.StreamEnded):
                self._ended.add(stream)
            elif isinstance(event, h2.events.StreamReset) and stream not in self._ended:
                raise ConnectionResetError(f"stream {stream} was reset: {event.error_code}")

    def _response_head(self, stream: int, headers: Any) -> bytes:
        fields = dict(headers)
        status = int(fields.pop(b":status"))
        if stream == self._stream and self._left < 0 and status != HTTPStatus.OK:
            self._left = 0
        phrase = HTTPStatus(status).phrase
        if self._methods[stream] == b"CONNECT" and status == 200:
            phrase = "Connection established"
        lines = [b"HTTP/1.1 %d %b" % (status, phrase.encode())]
        for name, value in headers:
            if not name.startswith(b":"):
                shown = name.title().replace(b"Www-", b"WWW-")
                lines.append(shown + b": " + value)
        return b"\r\n".join([*lines, b"", b""])

    def end(self) -> None:
        """End the request."""
        raise NotImplementedError

    def reset(self) -> None:
        """Close with a TCP reset."""
        self._wire.reset()

    def close(self) -> None:
        """Close the connection."""
        self._wire.close()


class Http2Client(Peer):
    """A client whose connection survives every error."""

    async def gets_error(
        self, status: int, error: str, *fields: str, with_body: bool = True, closes: bool = False
    ) -> str:
        """Receive an error response of the proxy."""
        return await super().gets_error(status, error, *fields, with_body=with_body)


class UpstreamOfHttp2(Peer):
    """An upstream that compares heads as HTTP/2 changes them."""

    async def gets(self, expected: bytes) -> None:
        """Receive these bytes, or a head that means the same."""
        if not _REQUEST.match(expected):
            await super().gets(expected)
            return
        end = expected.index(b"\r\n\r\n") + 4
        received = await self.gets_head()
        wanted = self._dialogue.expand(expected[:end])
        if _meaning(received) != _meaning(wanted):
            raise DialogueError(f"expected {wanted!r}, got {received!r}")
        if expected[end:]:
            await super().gets(expected[end:])


def _field(line: bytes) -> Field:
    name, _, value = line.partition(b":")
    return name.lower(), value[1:] if value.startswith(b" ") else value


def _pseudo(
    method: bytes, target: bytes, fields: dict[bytes, bytes], is_upgrade: bool
) -> list[Field]:
    """Return the pseudo-fields of a request (RFC 9113 section 8.3.1, RFC 8441 section 4)."""
    authority = fields.get(b"host", b"")
    if method == b"CONNECT":
        return [(b":method", method), (b":authority", target)]
    if target.startswith(b"http://"):
        authority, slash, path = target.removeprefix(b"http://").partition(b"/")
        target = slash + path
    pseudo = [(b":method", b"CONNECT" if is_upgrade else method), (b":scheme", b"http")]
    pseudo += [(b":path", target), (b":authority", authority)]
    return [*pseudo, (b":protocol", fields[b"upgrade"])] if is_upgrade else pseudo


def _meaning(request: bytes) -> list[bytes]:
    """Return the lines of a head with lower-case names, the host first, without a key."""
    line, *lines = request.split(b"\r\n")[:-2]
    fields = [b": ".join(_field(each)) for each in lines]
    fields = [each for each in fields if not each.startswith(_KEY)]
    if any(each.startswith(b"upgrade:") for each in fields):
        return [line, *sorted(each.lower() for each in fields)]
    return [line, *sorted(fields, key=lambda each: not each.startswith(b"host:"))]


@pytest.fixture
def over_http2(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let clients of dialogues speak HTTP/2."""

    def add(self: Stage, name: str, wire: Wire) -> Peer:
        number = sum(peer.name.startswith(name) for peer in self._peers)
        title = f"{name} {number + 1}" if number else name
        peer: Peer
        if name == "client":
            peer = Http2Client(title, Http2Wire(wire), self._dialogue)  # type: ignore[arg-type]
        else:
            peer = UpstreamOfHttp2(title, wire, self._dialogue)
        self._peers.append(peer)
        return peer

    monkeypatch.setattr(script.Stage, "_add", add)
