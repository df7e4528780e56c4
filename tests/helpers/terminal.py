"""A terminal with a program on it, to which one types and which shows what a person would see."""

import asyncio
import contextlib
import fcntl
import os
import pty
import re
import struct
import termios
from collections.abc import AsyncIterator, Mapping

from tests.helpers.timing import LATER
from tests.helpers.tools import tool

_ESCAPES = re.compile(r"\x1b(?:\[[0-9;?>=]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()].|[=>])")
_ROWS, _COLUMNS = 40, 120


class Terminal:
    """One end of a pseudo-terminal; `shown` is all that has come, without escape sequences."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._changed = asyncio.Event()
        self._data = b""
        self._raw = b""
        self._seen = ""
        asyncio.get_running_loop().add_reader(descriptor, self._read)

    @property
    def shown(self) -> str:
        """What has come so far."""
        return _ESCAPES.sub("", self._data.decode("utf-8", "replace"))

    @property
    def raw(self) -> str:
        """All that has ever come, with escape sequences."""
        return self._raw.decode("utf-8", "replace")

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._descriptor, text.encode())

    @property
    def seen(self) -> str:
        """All that `shows` has waited for, and what came before that."""
        return self._seen

    async def shows(self, *texts: str) -> None:
        """Wait until it has shown texts, wherever; forget all up to their ends."""
        try:
            async with asyncio.timeout(LATER):
                while missing := [text for text in texts if text not in self.shown]:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"{missing} is not in {self.shown!r}") from None
        rests = [self.shown.partition(text)[2] for text in texts]
        rest = min(rests, key=len)
        self._seen += self.shown.removesuffix(rest)
        self._data = rest.encode()

    def close(self) -> None:
        """Hang up."""
        asyncio.get_running_loop().remove_reader(self._descriptor)
        os.close(self._descriptor)

    def _read(self) -> None:
        try:
            data = os.read(self._descriptor, 65536)
        except OSError:
            # On Linux, the end of a terminal is an error.
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._descriptor)
        self._data += data
        self._raw += data
        self._changed.set()


@contextlib.asynccontextmanager
async def terminal(
    *command: str, variables: Mapping[str, str], columns: int = _COLUMNS
) -> AsyncIterator[tuple[Terminal, asyncio.subprocess.Process]]:
    """Run a program on a terminal of its own, with no variables but these."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, columns, 0, 0))
    try:
        process = await asyncio.create_subprocess_exec(
            tool("setsid"), "--ctty", *command,
            stdin=theirs, stdout=theirs, stderr=theirs, env=dict(variables),
        )  # fmt: skip
    finally:
        os.close(theirs)
    screen = Terminal(ours)
    try:
        yield screen, process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        screen.close()
