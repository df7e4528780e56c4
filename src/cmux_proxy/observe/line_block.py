"""LineBlock: the lines of the access log that are written together.

Called for every exchange, in the event loop; does not know files or threads.
`server/access_log_writer.py` takes the blocks. Neighbours: `access_log.py` defines the lines,
`_fast_lines.pyx` writes them in a compiled build.
"""

from collections.abc import Callable
from time import time
from typing import Final

from cmux_proxy.observe.access_log import FORMATS, encode
from cmux_proxy.observe.record import Record

try:
    from cmux_proxy.observe._fast_lines import FastLines
except ImportError:
    HAS_FAST_LINES = False
else:
    HAS_FAST_LINES = True

# Bytes with which a block is full; its last line may exceed them.
BLOCK_SIZE: Final = 65536


class LineBlock:
    """Collects whole lines.

    `begin` is called with the first line, unless `is_begun` is still set: the block has to be taken
    soon. `hand_over` is called when the block is full, and again with each line that comes then; it
    takes the block, or returns False where there is no room for it. Such a line is lost, and
    counted in `dropped`. `takes_fields` says that `put_fields` may be called.
    """

    __slots__ = (
        "_add", "_begin", "_fast", "_format", "_hand_over", "_is_full", "_lines", "_size",
        "dropped", "is_begun", "takes_fields",
    )  # fmt: skip

    def __init__(
        self, format_name: str, begin: Callable[[], object], hand_over: Callable[[], bool]
    ) -> None:
        self._begin = begin
        self._hand_over = hand_over
        self._format = FORMATS[format_name]
        self._lines: list[bytes] = []
        self._size = 0
        self._is_full = False
        self._fast: FastLines | None = None
        # Its method `add`, because a look-up costs a tenth of a line.
        self._add: Callable[..., bool] | None = None
        self.takes_fields = HAS_FAST_LINES
        if HAS_FAST_LINES:
            self._fast = FastLines(format_name, BLOCK_SIZE)
            self._add = self._fast.add
        self.dropped = 0
        self.is_begun = False

    def __call__(self, record: Record) -> None:
        """Do what `put` does: a block is a Sink."""
        self.put(record)

    def put(self, record: Record) -> None:
        """Add the line of a record, or count it as lost; never waits."""
        if self.takes_fields:
            self.put_fields(
                record.client, record.kind, record.method.encode("latin-1"),
                f"{record.method} {record.path} -\n".encode("latin-1"), record.minor, record.status,
                (record.host, record.port) if record.port else None, record.workspace,
                record.received, record.sent, record.started, record.first_byte, record.ended,
                record.is_reused, record.error,
            )  # fmt: skip
        elif self._has_room():
            line = encode(self._format(record, time()))
            self._lines.append(line)
            self._size += len(line)
            self._note_line(self._size >= BLOCK_SIZE)

    def put_fields(
        self, client: str, kind: str, method: bytes, request_line: bytes, minor: int,
        status: int, upstream: object, workspace: str, received: int, sent: int, started: float,
        first_byte: float, ended: float, is_reused: bool, error: str,
    ) -> None:  # fmt: skip
        """Do what `put` does with the record that has these values.

        `request_line` begins with the method, a space, the whole target, and another space.
        """
        add = self._add
        if add is not None and self._has_room():
            until_first_byte = first_byte - started if first_byte else -1.0
            self._note_line(
                add(
                    client, kind, method, request_line, minor, status, upstream, workspace,
                    received, sent, ended - started, until_first_byte, is_reused, error,
                )
            )  # fmt: skip

    def size(self) -> int:
        """Return how many bytes the lines have."""
        return self._size if self._fast is None else self._fast.count()

    def take(self) -> bytes:
        """Return the lines, and begin with none."""
        self._is_full = False
        if self._fast is not None:
            return self._fast.take()
        lines = b"".join(self._lines)
        self._lines.clear()
        self._size = 0
        return lines

    def _has_room(self) -> bool:
        """Return whether a line can be added; otherwise count it as lost."""
        if self._is_full and not self._hand_over():
            self.dropped += 1
            return False
        return True

    def _note_line(self, is_full: bool) -> None:
        self._is_full = is_full
        if not self.is_begun:
            self.is_begun = True
            self._begin()
        if is_full:
            self._hand_over()
