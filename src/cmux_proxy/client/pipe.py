"""Copies between two byte streams in both directions; passes half-closes on."""

import asyncio
from collections.abc import Callable
from typing import Final

from cmux_proxy.net.socket_options import reset_on_close

_READ_SIZE: Final = 64 * 1024

# Called with the number of bytes that were copied.
Count = Callable[[int], None]


async def join(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    other_reader: asyncio.StreamReader,
    other_writer: asyncio.StreamWriter,
    sent: Count,
    received: Count,
) -> None:
    """Copy in both directions until both have ended, and close both; reset both if one fails."""
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(copy(reader, other_writer, sent))
            group.create_task(copy(other_reader, writer, received))
    except* OSError:
        # The peer that has not failed gets a reset.
        _reset(writer.transport)
        _reset(other_writer.transport)
    finally:
        writer.close()
        other_writer.close()


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, count: Count) -> None:
    """Copy up to the end, and half-close; close if the transport has no half-close."""
    while data := await reader.read(_READ_SIZE):
        writer.write(data)
        await writer.drain()
        count(len(data))
    if writer.can_write_eof():
        writer.write_eof()
    else:
        writer.close()


def _reset(transport: asyncio.WriteTransport) -> None:
    """Close with a reset, so that the peer does not take the data for complete."""
    sock = transport.get_extra_info("socket")
    if sock is not None and not transport.is_closing():
        reset_on_close(sock)
    transport.abort()
