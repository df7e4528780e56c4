"""Stands in for systemd: hears what a service tells."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from tests.helpers.timing import later


class Systemd:
    """A socket for datagrams; `address` is what services are told to send to."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.setblocking(False)
        self.sock.bind(address.replace("@", "\0"))

    @classmethod
    @contextlib.contextmanager
    def at(cls, folder: Path) -> Iterator[Self]:
        """Listen in a folder, for as long as the block lasts."""
        one = cls(str(folder / "notify"))
        with one.sock:
            yield one

    def heard(self) -> list[str]:
        """Return the lines of what has arrived already, without waiting."""
        lines: list[str] = []
        with contextlib.suppress(BlockingIOError):
            while True:
                lines += self.sock.recv(4096).decode().split("\n")
        return lines

    async def hears(self) -> list[str]:
        """Return the lines that arrive next."""
        loop = asyncio.get_running_loop()
        return (await later(loop.sock_recv(self.sock, 4096))).decode().split("\n")

    async def hears_nothing(self, seconds: float) -> None:
        """Wait until nothing comes for so long; fail if that does not happen soon enough."""
        for _ in range(20):
            try:
                async with asyncio.timeout(seconds):
                    await self.hears()
            except TimeoutError:
                return
        raise AssertionError("it is told again and again")
