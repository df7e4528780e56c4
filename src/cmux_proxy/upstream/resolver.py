"""Asks the system's resolver, in threads of its own.

A name server that does not answer blocks a thread for seconds. The loop's own threads are few: with
uvloop no more than two may wait for the resolver, connections to names among them; with asyncio
there are six, and the end waits for them. Ours are more, and nobody waits for them. Neighbour:
`dns_cache.py`, which decides how many there are.
"""

import asyncio
import socket
import threading

from cmux_proxy.net.asyncio_backend import asyncio_loop
from cmux_proxy.net.happy_eyeballs import AddressInfo
from cmux_proxy.net.stream import Loop

_Answer = list[AddressInfo] | Exception


class Resolver:
    """The resolver of one event loop."""

    def __init__(self, loop: Loop) -> None:
        self._loop = asyncio_loop(loop)

    async def look_up(self, host: str) -> list[AddressInfo]:
        """Return the addresses of a name, for TCP and port 0; raise OSError or UnicodeError."""
        answer: asyncio.Future[_Answer] = self._loop.create_future()
        threading.Thread(target=self._ask, args=(host, answer), daemon=True).start()
        told = await answer
        if isinstance(told, Exception):
            raise told
        return told

    def _ask(self, host: str, answer: "asyncio.Future[_Answer]") -> None:
        told: _Answer
        try:
            told = list(socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            told = error
        try:
            self._loop.call_soon_threadsafe(_settle, answer, told)
        except RuntimeError:
            return  # the loop is closed, and nobody asks any more


def _settle(answer: "asyncio.Future[_Answer]", told: _Answer) -> None:
    if not answer.done():
        answer.set_result(told)
