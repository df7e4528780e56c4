"""Joins two byte streams until both have ended: the end of one direction is passed on as an end."""

import asyncio
from collections.abc import Callable
from typing import Final

from cmux_proxy.net.socket_options import reset_on_close

_PIECE: Final = 64 * 1024

# Told how many bytes have gone by.
Count = Callable[[int], None]


async def join(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    other_reader: asyncio.StreamReader,
    other_writer: asyncio.StreamWriter,
    sent: Count,
    received: Count,
) -> None:
    """Copy in both directions until both have ended, and close both; break both off when one is."""
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(copy(reader, other_writer, sent))
            group.create_task(copy(other_reader, writer, received))
    except* OSError:
        # The one that has not broken off learns it by that.
        _reset(writer.transport)
        _reset(other_writer.transport)
    finally:
        writer.close()
        other_writer.close()


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, count: Count) -> None:
    """Copy up to the end, and pass that on; where TLS has no half-closes, close."""
    while data := await reader.read(_PIECE):
        writer.write(data)
        await writer.drain()
        count(len(data))
    if writer.can_write_eof():
        writer.write_eof()
    else:
        writer.close()


def _reset(transport: asyncio.WriteTransport) -> None:
    """Close at once, so that nobody takes what has come for all there is."""
    sock = transport.get_extra_info("socket")
    if sock is not None and not transport.is_closing():
        reset_on_close(sock)
    transport.abort()
