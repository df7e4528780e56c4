"""Bytes that have arrived, and that the owner of a stream has not taken.

Does not know when they are handed over. Neighbour: `tls_stream.py`.
"""

import asyncio

from mypy_extensions import mypyc_attr


@mypyc_attr(acyclic=True, free_list_len=1)
class UnreadBytes:
    """A queue of bytes; `size` is how many there are."""

    __slots__ = ("_data", "size")

    def __init__(self) -> None:
        self._data = b""
        self.size = 0

    def add(self, data: bytes) -> None:
        """Put bytes behind those that wait."""
        self._data = self._data + data if self.size > 0 else data
        self.size = len(self._data)

    def take(self, max_size: int) -> bytes:
        """Return the first bytes."""
        data = self._data
        if self.size <= max_size:
            self.clear()
            return data
        self._data = data[max_size:]
        self.size = len(self._data)
        return data[:max_size]

    def fill(self, owner: asyncio.BufferedProtocol) -> None:
        """Hand the first bytes over in a buffer that the owner brings."""
        buffer = memoryview(owner.get_buffer(-1))
        if not len(buffer):
            raise RuntimeError("get_buffer() returned an empty buffer")
        data = self.take(len(buffer))
        buffer[: len(data)] = data
        owner.buffer_updated(len(data))

    def clear(self) -> None:
        """Forget them all."""
        self._data = b""
        self.size = 0
