"""Waits in a coroutine until the kernel is ready to read from or write to a socket."""

from cmux_proxy.net.asyncio_backend import asyncio_loop
from cmux_proxy.net.futures import settle
from cmux_proxy.net.stream import Loop


async def wait_readable(loop: Loop, descriptor: int) -> None:
    """Wait until something can be read, be it the end."""
    running = asyncio_loop(loop)
    ready = running.create_future()
    running.add_reader(descriptor, settle, ready, None)
    try:
        await ready
    finally:
        running.remove_reader(descriptor)


async def wait_writable(loop: Loop, descriptor: int, timeout: float | None) -> None:
    """Wait until something can be written, for at most `timeout` seconds."""
    running = asyncio_loop(loop)
    ready = running.create_future()
    running.add_writer(descriptor, settle, ready, None)
    timer = None if timeout is None else running.call_later(timeout, settle, ready, None)
    try:
        await ready
    finally:
        running.remove_writer(descriptor)
        if timer is not None:
            timer.cancel()
