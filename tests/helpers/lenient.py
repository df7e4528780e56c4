"""An upstream that reads as laxly as a bad server, and records every byte of every connection.

Lines end in LF with or without CR, folded lines are joined, white space around names is ignored,
and the digits in a value are its number. Of two framings it uses the one that its
`FramingPreference` selects, so that a smuggled request finds a server that reads it.
"""

import asyncio
import re
from dataclasses import dataclass
from typing import Final

from tests.helpers.messages import Message
from tests.helpers.origins import Behaviour, OriginConnection, http_response

_BLANKS: Final = b" \t\r\x00\x0b\x0c\xa0"


@dataclass(frozen=True)
class FramingPreference:
    """Which framing a lax reader uses; with `ignores_length` it reads no body by length."""

    coding_first: bool = True
    last_length: bool = False
    ignores_length: bool = False


FRAMING_PREFERENCES: Final = {
    "coding first": FramingPreference(),
    "length first": FramingPreference(coding_first=False),
    "last length first": FramingPreference(coding_first=False, last_length=True),
}


def lenient(preference: FramingPreference, has_head: asyncio.Event | None = None) -> Behaviour:
    """Respond to every request that can be read with its method and target.

    `has_head` is set after each head.
    """

    async def behave(connection: OriginConnection) -> None:
        reader = LenientReader(connection, preference, has_head or asyncio.Event())
        while (request := await reader.request()) is not None:
            connection.requests.append(request)
            switches = request.field("upgrade") is not None
            response = (
                _SWITCHING
                if switches
                else text_response(f"{request.method} {request.target}".encode())
            )
            end = response.index(b"\r\n\r\n") + 4
            await connection.send(response[:end] if request.method == "HEAD" else response)

    return behave


def text_response(text: bytes) -> bytes:
    """Return a response with that body."""
    return http_response(text, "Date: Thu, 01 Jan 1970 00:00:00 GMT", "Content-Type: text/plain")


_SWITCHING: Final = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: a\r\n\r\n"


class LenientReader:
    """Reads requests from a connection; raises EOFError if one is incomplete."""

    def __init__(
        self, connection: OriginConnection, preference: FramingPreference, has_head: asyncio.Event
    ) -> None:
        self._visit = connection
        self._preference = preference
        self._has_head = has_head
        self._buffer = b""

    async def request(self) -> Message | None:
        """Return the next request with its body as this reader reads it, None at the end."""
        start = b""
        while not start:
            if not self._buffer and not await self._more():
                return None
            start = await self._line()
        lines: list[bytes] = []
        while line := await self._line(strip=False):
            if line[:1] in (b" ", b"\t") and lines:
                lines[-1] += b" " + line.strip(_BLANKS)
            else:
                lines.append(line)
        message = Message(start)
        message.start = [*(part.decode("latin-1") for part in start.split(None, 2)), "", ""][:3]
        message.fields = [_field(line) for line in lines]
        if message.field("expect"):
            await self._visit.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._has_head.set()
        message.body = await self._body(message)
        return message

    async def _body(self, message: Message) -> bytes:
        is_coded = "chunked" in (message.field("transfer-encoding") or "").lower()
        lengths = re.findall(r"[0-9]+", message.field("content-length") or "")
        if is_coded and (self._preference.coding_first or not lengths):
            return await self._chunks()
        if not lengths or self._preference.ignores_length:
            return b""
        return await self._take(int(lengths[-1 if self._preference.last_length else 0]))

    async def _chunks(self) -> bytes:
        body = b""
        while size := _hexadecimal(await self._line()):
            body += await self._take(size)
            await self._line()
        while await self._line():
            pass
        return body

    async def _line(self, strip: bool = True) -> bytes:
        while b"\n" not in self._buffer:
            if not await self._more():
                raise EOFError
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.strip(_BLANKS) if strip else line.rstrip(_BLANKS)

    async def _take(self, count: int) -> bytes:
        while len(self._buffer) < count:
            if not await self._more():
                raise EOFError
        data, self._buffer = self._buffer[:count], self._buffer[count:]
        return data

    async def _more(self) -> bool:
        data = await self._visit.receive()
        self._buffer += data
        return data != b""


def _field(line: bytes) -> tuple[str, str]:
    name, _colon, value = line.partition(b":")
    key = name.strip(_BLANKS).lower()
    return key.decode("latin-1"), value.strip(_BLANKS).decode("latin-1")


def _hexadecimal(line: bytes) -> int:
    match = re.match(rb"[^0-9A-Fa-f]*(?:0[xX])?([0-9A-Fa-f]+)", line)
    return int(match[1], 16) if match else 0
