"""How the admin process reaches the workers: a pair of connected sockets for each worker.

Both ends are inherited, so that nothing lies in a file system. The supervisor keeps them open, as
it does the sockets for clients: whoever takes the place of a dead process finds the same ends, and
what was sent meanwhile. Knows no event loop, since the supervisor has none.
"""

import socket


class Channels:
    """A pair of sockets for each of `count` workers, whose numbers begin with 1."""

    def __init__(self, count: int) -> None:
        # Datagrams: a process that ends while it reads or writes leaves no half of a message.
        self._pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(count)]
        for pair in self._pairs:
            for sock in pair:
                # Where nobody reads, the queue is full after a few: the sender does not wait.
                sock.setblocking(False)

    def take_worker(self, number: int) -> socket.socket:
        """Return a worker's own end, and let go of all others, in the worker's process."""
        own = self._pairs[number - 1][1]
        self._let_go_but([own])
        return own

    def take_admin(self) -> list[socket.socket]:
        """Return the other ends, and let go of the workers', in the admin process."""
        own = [admin for admin, _ in self._pairs]
        self._let_go_but(own)
        return own

    def close(self) -> None:
        """Let go of all: what is sent to a worker that has ended is refused from then on."""
        self._let_go_but([])

    def _let_go_but(self, kept: list[socket.socket]) -> None:
        for pair in self._pairs:
            for sock in pair:
                if sock not in kept:
                    sock.close()
        self._pairs.clear()
