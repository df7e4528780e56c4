"""Content derived from a name, so that bytes which end up with somebody else show; and chunks."""

import hashlib
import itertools
from random import Random
from typing import Final, Self

from tests.helpers.messages import Reader

_EXTENSIONS: Final = (b"", b"", b"", b";a=1", b';b="2;3"')


def content(name: str, size: int) -> bytes:
    """Return bytes that belong to this name alone."""
    return hashlib.shake_128(name.encode()).digest(size)


def cut(data: bytes, random: Random, most: int = 5) -> list[bytes]:
    """Cut into one to `most` pieces at random places; none is empty."""
    if not data:
        return []
    places = {random.randrange(len(data)) for _ in range(random.randint(0, most - 1))}
    bounds = [*sorted(places | {0}), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(bounds)]


def in_chunks(data: bytes, trailer: str, random: Random) -> bytes:
    """Return a chunked body with one trailer."""
    pieces = [
        b"%x%b\r\n%b\r\n" % (len(piece), random.choice(_EXTENSIONS), piece)
        for piece in cut(data, random)
    ]
    return b"".join([*pieces, b"0\r\n%b\r\n\r\n" % trailer.encode()])


class Chunks:
    """The chunks of a body that is under way, one by one; then `trailers` has what follows."""

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

    async def whole(self) -> bytes:
        """Return the whole body."""
        return b"".join([data async for data in self])

    async def _line(self) -> str:
        line = bytearray()
        while not line.endswith(b"\r\n"):
            line += await self._reader.take(1)
        return line[:-2].decode("latin-1")
