"""Content derived from a name, so that bytes of another exchange are noticed; and chunks."""

import hashlib
import itertools
from random import Random
from typing import Final, Self

from tests.helpers.messages import Reader

_EXTENSIONS: Final = (b"", b"", b"", b";a=1", b';b="2;3"')


def content(name: str, size: int) -> bytes:
    """Return bytes that belong only to this name."""
    return hashlib.shake_128(name.encode()).digest(size)


def cut(data: bytes, random: Random, max_parts: int = 5) -> list[bytes]:
    """Split into one to `max_parts` parts at random positions; no part is empty."""
    if not data:
        return []
    positions = {random.randrange(len(data)) for _ in range(random.randint(0, max_parts - 1))}
    bounds = [*sorted(positions | {0}), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(bounds)]


def in_chunks(data: bytes, trailer: str, random: Random) -> bytes:
    """Return a chunked body with one trailer."""
    parts = [
        b"%x%b\r\n%b\r\n" % (len(part), random.choice(_EXTENSIONS), part)
        for part in cut(data, random)
    ]
    return b"".join([*parts, b"0\r\n%b\r\n\r\n" % trailer.encode()])


class Chunks:
    """Reads the chunks of a body one by one; afterwards, `trailers` are the lines after them."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.trailers: list[str] = []

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        size = int((await self._line()).partition(";")[0], 16)
        if not size:
            while line := await self._line():
                self.trailers.append(line)
            raise StopAsyncIteration
        data = await self._reader.take(size)
        assert await self._reader.take(2) == b"\r\n", "a chunk of another size than announced"
        return data

    async def read_all(self) -> bytes:
        """Return the complete body."""
        return b"".join([data async for data in self])

    async def _line(self) -> str:
        line = bytearray()
        while not line.endswith(b"\r\n"):
            line += await self._reader.take(1)
        return line[:-2].decode("latin-1")
