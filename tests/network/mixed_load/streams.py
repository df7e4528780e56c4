"""Large contents of which every block differs, made and hashed on the fly."""

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


def coded_block(number: int, framing: str) -> bytes:
    """Return one block as it is sent, in a chunk where the framing is "chunked"."""
    return _coded(block(number), framing)


async def send_stream(wire: Wire, size: int, framing: str) -> None:
    """Send a body of that size."""
    for piece in _blocks(size):
        await wire.send(_coded(piece, framing))
    if framing == "chunked":
        await wire.send(b"0\r\n\r\n")


async def received_digest(reader: Reader, size: int, framing: str) -> str:
    """Return the hash of the body that comes."""
    whole = hashlib.sha256()
    if framing == "chunked":
        async for piece in Chunks(reader):
            whole.update(piece)
        return whole.hexdigest()
    while size:
        piece = await reader.receive()
        if not piece:
            raise EOFError
        whole.update(piece)
        size -= len(piece)
    return whole.hexdigest()


def digest(size: int) -> str:
    """Return the hash of a body of that size."""
    whole = hashlib.sha256()
    for piece in _blocks(size):
        whole.update(piece)
    return whole.hexdigest()


def _blocks(size: int) -> Iterator[bytes]:
    for number in range(size // BLOCK):
        yield block(number)
    if size % BLOCK:
        yield block(size // BLOCK)[: size % BLOCK]


def _coded(piece: bytes, framing: str) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece) if framing == "chunked" else piece
