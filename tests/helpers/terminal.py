"""A pseudo-terminal with a program on it: types keys, and reads what a person would see."""

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
    """One end of a pseudo-terminal; `shown` is its output without escape sequences."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._changed = asyncio.Event()
        self._data = b""
        self._raw = b""
        self._seen = ""
        asyncio.get_running_loop().add_reader(descriptor, self._read)

    @property
    def shown(self) -> str:
        """The output since the last match of `shows`, without escape sequences."""
        return _ESCAPES.sub("", self._data.decode("utf-8", "replace"))

    @property
    def raw(self) -> str:
        """The complete output, with escape sequences."""
        return self._raw.decode("utf-8", "replace")

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._descriptor, text.encode())

    @property
    def seen(self) -> str:
        """The output up to the last match of `shows`."""
        return self._seen

    async def shows(self, *texts: str) -> None:
        """Wait until the output has all texts, in any order; drop it up to the last one."""
        try:
            async with asyncio.timeout(LATER):
                while missing := [text for text in texts if text not in self.shown]:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"{missing} is not in {self.shown!r}") from None
        remainders = [self.shown.partition(text)[2] for text in texts]
        remainder = min(remainders, key=len)
        self._seen += self.shown.removesuffix(remainder)
        self._data = remainder.encode()

    def close(self) -> None:
        """Close the terminal; its program gets SIGHUP."""
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
    """Run a program on a new terminal, with these variables only."""
    controller, terminal_end = pty.openpty()
    fcntl.ioctl(terminal_end, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, columns, 0, 0))
    try:
        process = await asyncio.create_subprocess_exec(
            tool("setsid"), "--ctty", *command,
            stdin=terminal_end, stdout=terminal_end, stderr=terminal_end, env=dict(variables),
        )  # fmt: skip
    finally:
        os.close(terminal_end)
    screen = Terminal(controller)
    try:
        yield screen, process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        screen.close()
