"""Stands in for systemd: receives the notifications of a service."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from tests.helpers.timing import later


class Systemd:
    """A datagram socket; `address` is the value of NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.setblocking(False)
        self.sock.bind(address.replace("@", "\0"))

    @classmethod
    @contextlib.contextmanager
    def at(cls, folder: Path) -> Iterator[Self]:
        """Listen in a folder during the block."""
        systemd = cls(str(folder / "notify"))
        with systemd.sock:
            yield systemd

    def received(self) -> list[str]:
        """Return the lines that have arrived, without waiting."""
        lines: list[str] = []
        with contextlib.suppress(BlockingIOError):
            while True:
                lines += self.sock.recv(4096).decode().split("\n")
        return lines

    async def receive(self) -> list[str]:
        """Wait for the next datagram; return its lines."""
        loop = asyncio.get_running_loop()
        return (await later(loop.sock_recv(self.sock, 4096))).decode().split("\n")

    async def receive_nothing(self, seconds: float) -> None:
        """Wait until no datagram arrives for this time; fail if datagrams keep arriving."""
        for _ in range(20):
            try:
                async with asyncio.timeout(seconds):
                    await self.receive()
            except TimeoutError:
                return
        raise AssertionError("datagrams keep arriving")
