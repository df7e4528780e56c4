"""Reads complete messages from a wire, as a simple peer does: for upstreams and clients of tests.

Does not validate what it reads; dialogues (`script.py`) test the exact bytes.
"""

from typing import Final

from tests.helpers.wire import Wire

_BLANK_LINE: Final = b"\r\n\r\n"


class Message:
    """A message that was read: its head as bytes and parsed, and its body."""

    def __init__(self, head: bytes) -> None:
        lines = head.decode("latin-1").split("\r\n")
        self.head = head
        self.start = [*lines[0].split(" ", 2), ""][:3]
        self.fields = [
            (name.lower(), value.strip(" \t"))
            for name, _colon, value in (line.partition(":") for line in lines[1:] if line)
        ]
        self.body = b""

    @property
    def method(self) -> str:
        """The method of a request."""
        return self.start[0]

    @property
    def target(self) -> str:
        """The target of a request."""
        return self.start[1]

    @property
    def status(self) -> int:
        """The status of a response."""
        return int(self.start[1])

    def field(self, name: str) -> str | None:
        """Return the value of a field, its lines joined; None if the field is absent."""
        values = [value for field, value in self.fields if field == name]
        return ", ".join(values) if values else None


class Reader:
    """Reads a wire message by message; EOFError if a message is incomplete."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self._buffer = bytearray()

    async def head(self) -> Message | None:
        """Return the next head; None at the end."""
        while (end := self._buffer.find(_BLANK_LINE)) < 0:
            if not await self._more():
                if self._buffer:
                    raise EOFError
                return None
        message = Message(bytes(self._buffer[:end]))
        del self._buffer[: end + 4]
        return message

    async def response(self, method: str = "GET") -> Message:
        """Return the next final response with its body."""
        while True:
            message = await self.head()
            if message is None:
                raise EOFError
            if message.status >= 200:
                break
        if method == "HEAD" or message.status in (204, 304):
            return message
        if message.field("transfer-encoding") or message.field("content-length") is not None:
            await self.body(message)
        else:
            while data := await self.receive():
                message.body += data
        return message

    async def body(self, message: Message) -> None:
        """Read the body that a head announces."""
        if message.field("transfer-encoding"):
            message.body = await self._chunks()
        else:
            message.body = await self.take(int(message.field("content-length") or 0))

    async def take(self, count: int) -> bytes:
        """Return the next `count` bytes."""
        while len(self._buffer) < count:
            if not await self._more():
                raise EOFError
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data

    async def receive(self) -> bytes:
        """Return the next bytes, any number of them; b"" at the end."""
        if not self._buffer:
            await self._more()
        data = bytes(self._buffer)
        self._buffer.clear()
        return data

    async def _chunks(self) -> bytes:
        body = bytearray()
        while size := int((await self._line()).partition(b";")[0], 16):
            body += await self.take(size)
            await self.take(2)
        while await self._line():
            pass
        return bytes(body)

    async def _line(self) -> bytes:
        while (end := self._buffer.find(b"\r\n")) < 0:
            if not await self._more():
                raise EOFError
        return (await self.take(end + 2))[:-2]

    async def _more(self) -> bool:
        data = await self.wire.receive()
        self._buffer += data
        return data != b""
