"""A block: the lines of the access log that are written together.

Called for every exchange, in the event loop; does not know files or threads.
`server/access_log_writer.py` takes the blocks. `make_block` makes the block of this build: a
LineBlock, or the FastLines of `_fast_lines.pyx`, which does the same in a compiled one. Neighbour:
`access_log.py` defines the lines.
"""

from collections.abc import Callable
from time import time
from typing import Final, TypeAlias, TypeGuard

from cmux_proxy.observe.access_log import FORMATS, encode
from cmux_proxy.observe.record import Record

try:
    from cmux_proxy.observe._fast_lines import FastLines
except ImportError:
    HAS_FAST_LINES = False
else:
    HAS_FAST_LINES = True

# Bytes with which a block is full; its last line may exceed them. A thread is started for each.
BLOCK_SIZE: Final = 262144


class LineBlock:
    """Collects whole lines, until `take` returns them.

    `begin` is called with the first line, unless `is_begun` is still set: the block has to be taken
    soon. `hand_over` is called when the block has `full_size` bytes, and again with each line that
    comes then; it takes the block, or returns False where there is no room for it. Such a line is
    lost, and counted in `dropped`.
    """

    def __init__(
        self,
        format_name: str,
        begin: Callable[[], object],
        hand_over: Callable[[], bool],
        full_size: int,
    ) -> None:
        self._begin = begin
        self._hand_over = hand_over
        self._full_size = full_size
        self._format = FORMATS[format_name]
        self._lines: list[bytes] = []
        self._size = 0
        self.dropped = 0
        self.is_begun = False

    def __call__(self, record: Record) -> None:
        """Do what `put` does: a block is a Sink."""
        self.put(record)

    def put(self, record: Record) -> None:
        """Add the line of a record, or count it as lost; never waits."""
        if self._size >= self._full_size and not self._hand_over():
            self.dropped += 1
            return
        line = encode(self._format(record, time()))
        self._lines.append(line)
        self._size += len(line)
        if not self.is_begun:
            self.is_begun = True
            self._begin()
        if self._size >= self._full_size:
            self._hand_over()

    def size(self) -> int:
        """Return how many bytes the lines have."""
        return self._size

    def take(self) -> bytes:
        """Return the lines, and begin with none."""
        lines = b"".join(self._lines)
        self._lines.clear()
        self._size = 0
        return lines


Block: TypeAlias = "LineBlock | FastLines"
_TYPES: Final[tuple[type, ...]] = (LineBlock, FastLines) if HAS_FAST_LINES else (LineBlock,)


def make_block(
    format_name: str,
    begin: Callable[[], object],
    hand_over: Callable[[], bool],
    full_size: int = BLOCK_SIZE,
) -> "Block":
    """Return a block for lines in the format of that name."""
    if HAS_FAST_LINES:
        return FastLines(format_name, begin, hand_over, full_size)
    return LineBlock(format_name, begin, hand_over, full_size)


def is_block(sink: object) -> "TypeGuard[Block]":
    """Return whether a sink of records is a block."""
    return isinstance(sink, _TYPES)
