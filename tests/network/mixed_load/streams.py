"""Large contents with a different value in every block, generated and hashed on the fly."""

import hashlib
from collections.abc import Iterator
from random import Random
from typing import Final

from tests.helpers.messages import Reader
from tests.helpers.wire import Wire
from tests.network.mixed_load.bodies import Chunks

BLOCK: Final = 64 * 1024
_NUMBER: Final = 16
_BASE: Final = Random("large").randbytes(BLOCK - _NUMBER)


def block(number: int) -> bytes:
    """Return one block."""
    return b"%0*d" % (_NUMBER, number) + _BASE


def encoded_block(number: int, framing: str) -> bytes:
    """Return one block as it is sent; in a chunk if the framing is "chunked"."""
    return _encode(block(number), framing)


async def send_stream(wire: Wire, size: int, framing: str) -> None:
    """Send a body of `size` bytes."""
    for data in _blocks(size):
        await wire.send(_encode(data, framing))
    if framing == "chunked":
        await wire.send(b"0\r\n\r\n")


async def received_digest(reader: Reader, size: int, framing: str) -> str:
    """Receive a body and return its hash."""
    hasher = hashlib.sha256()
    if framing == "chunked":
        async for data in Chunks(reader):
            hasher.update(data)
        return hasher.hexdigest()
    while size:
        data = await reader.receive()
        if not data:
            raise EOFError
        hasher.update(data)
        size -= len(data)
    return hasher.hexdigest()


def digest(size: int) -> str:
    """Return the hash of a body of `size` bytes."""
    hasher = hashlib.sha256()
    for data in _blocks(size):
        hasher.update(data)
    return hasher.hexdigest()


def _blocks(size: int) -> Iterator[bytes]:
    for number in range(size // BLOCK):
        yield block(number)
    if size % BLOCK:
        yield block(size // BLOCK)[: size % BLOCK]


def _encode(data: bytes, framing: str) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data) if framing == "chunked" else data
