"""Where the workers tell the admin process what they do: a Unix socket for each.

They outlive the workers, as the sockets for clients do, and lie in a directory that is only for
this user. Knows no event loop, since the supervisor has none.
"""

import os
import shutil
import socket
import tempfile
from typing import Final

_BACKLOG: Final = 16


class Channels:
    """One socket that listens for each of `count` workers, whose numbers begin with 1."""

    def __init__(self, count: int) -> None:
        self._folder = tempfile.mkdtemp(prefix="cmux-proxy-")
        self._owner = os.getpid()
        self._sockets = {number: self._listen(number) for number in range(1, count + 1)}

    @property
    def paths(self) -> list[str]:
        """Where to connect to, for each worker."""
        return [self._path(number) for number in self._sockets]

    def take(self, number: int) -> socket.socket:
        """Return a worker's own, and let go of the others, in the worker's process."""
        own = self._sockets.pop(number)
        self.close()
        return own

    def let_go(self) -> None:
        """Let go of all: where a worker has ended too, nobody waits in its queue."""
        for sock in self._sockets.values():
            sock.close()
        self._sockets.clear()

    def close(self) -> None:
        """Let go of all; the process that has made them removes them."""
        self.let_go()
        if os.getpid() == self._owner:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _listen(self, number: int) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.bind(self._path(number))
        sock.listen(_BACKLOG)
        sock.setblocking(False)
        return sock

    def _path(self, number: int) -> str:
        return os.path.join(self._folder, f"{number}.sock")
