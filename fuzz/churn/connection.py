"""One native stream of a program and its peer: what has happened, and what may happen.

Checks each callback of the stream, and each byte of both directions, when it comes.
`expected.py` knows what still has to come, `actions.py` what is done with a connection.
"""

import os
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any, Final

from fuzz.churn.content import content
from fuzz.churn.peer import End, Peer
from tests.helpers.native import BufferedRecorder, Recorder

if TYPE_CHECKING:
    from fuzz.churn.world import World

_CALLBACKS: Final = (
    "connection_made", "data_received", "get_buffer", "buffer_updated", "eof_received",
    "pause_writing", "resume_writing", "connection_lost",
)  # fmt: skip
_READING: Final = frozenset(["data_received", "get_buffer", "buffer_updated", "eof_received"])
_WRITING: Final = frozenset(["pause_writing", "resume_writing"])
_READ_SIZES: Final = (1, 16, 512, 65_536)


class Intended(Exception):
    """What a callback raises on purpose."""


class Connection:
    """One connection."""

    def __init__(self, world: "World", peer: Peer) -> None:
        self.world = world
        self.key = peer.key
        self.peer = peer
        self.random = Random(f"{world.name} {peer.key}")
        self.read_size = self.random.choice(_READ_SIZES)
        self.stays_open = self.random.random() < 0.5
        self.high = self.random.choice((0, 50_000))
        self.received = 0
        self.written = 0
        # None before it is made, and at times after its end.
        self.stream: Any = None
        self.is_paused = False
        self.is_writing_paused = False
        self.has_end = False
        self.is_ended = False
        # Closed by us; with `is_aborted`, what waits to be sent is discarded.
        self.is_closed = False
        self.is_aborted = False
        self.is_lost = False
        # Since nothing was missing the last time, something has happened that leads to a read.
        self.is_touched = peer.sent > 0
        # In how many callbacks it acts, and whether the one that runs raises.
        self.reactions = 0
        self.will_raise = False
        # Duplicates of the descriptor, for which the kernel goes on reporting its events.
        self.kept: list[int] = []
        # Known once somebody has asked, as what is behind it.
        self.fd = -1
        self._inode = 0
        self.owner = self.make_owner()

    def __str__(self) -> str:
        return f"connection {self.key}"

    def make_owner(self) -> Recorder:
        """Return an owner that reports to this connection."""
        if self.random.random() < 0.8:
            owner: Recorder = BufferedRecorder(self.read_size, self.stays_open)
        else:
            owner = Recorder(self.stays_open)
        owner.on = {name: partial(self._on, owner, name) for name in _CALLBACKS}
        return owner

    # Callbacks

    def _on(self, owner: Recorder, name: str) -> None:
        """Check that a callback is allowed and what it brings, and act in it."""
        self.world.note(f"{self}: {name}")
        self._check_is_allowed(owner, name)
        match name:
            case "connection_made":
                self._on_made(owner)
            case "get_buffer" if isinstance(owner, BufferedRecorder):
                # A new one each time, so that one that was kept too short is freed memory.
                owner.buffer = bytearray(self.read_size)
                return
            case "data_received" | "buffer_updated":
                self._take(owner)
            case "eof_received":
                self._on_end()
            case "pause_writing" | "resume_writing":
                self.is_writing_paused = name == "pause_writing"
            case "connection_lost":
                self._on_lost(owner)
        self._react(name)

    def _check_is_allowed(self, owner: Recorder, name: str) -> None:
        """Check what holds for all callbacks, whatever they bring."""
        world = self.world
        if self.is_lost:
            world.fail(f"{self}: {name} after connection_lost")
        if owner is not self.owner:
            world.fail(f"{self}: {name} of an owner of before")
        if (self.stream is not None) == (name == "connection_made"):
            world.fail(f"{self}: {name}, and connection_made is not the first")
        if world.call and name not in ("connection_made", "pause_writing"):
            world.fail(f"{self}: {name} within {world.call}")
        if name in _WRITING and self.is_writing_paused == (name == "pause_writing"):
            world.fail(f"{self}: {name} twice")
        if name in _READING and (self.is_paused or self.is_closed or self.has_end):
            world.fail(f"{self}: {name} while nothing may be read")
        if name in _READING and not (self.is_touched or self.peer.has_urgent):
            world.fail(f"{self}: {name} by an event of another")
        if self.fd >= 0 and not self.is_number_ours():
            world.fail(f"{self}: {name}, and the descriptor {self.fd} is not its own")

    def _on_made(self, owner: Recorder) -> None:
        self.stream = owner.stream
        self.stream.max_size = self.read_size
        self.stream.set_write_buffer_limits(high=self.high)
        if self.random.random() < 0.4:
            # A socket object, which must not close the descriptor.
            self.learn_number(self.stream.get_extra_info("socket").fileno())
        # Only accepted connections know it.
        name = self.stream.get_extra_info("peername")
        if name not in (None, self.peer.sock.getsockname()):
            self.world.fail(f"{self} has the peer {name}")

    def _take(self, owner: Recorder) -> None:
        """Check the bytes that the owner has received."""
        new = bytes(owner.received)
        owner.received.clear()
        if new != content(2 * self.key, self.received, len(new)):
            self.world.fail(f"{self} receives bytes of another at {self.received}")
        self.received += len(new)
        if self.received > self.peer.sent:
            self.world.fail(f"{self} receives {self.received} bytes of {self.peer.sent}")

    def _on_end(self) -> None:
        peer = self.peer
        self.has_end = True
        self.is_closed |= not self.stays_open
        if peer.end is End.NONE:
            self.world.fail(f"{self} receives the end of another")
        if peer.end is End.FIN and self.received < peer.sent:
            self.world.fail(f"{self} receives the end after {self.received} of {peer.sent} bytes")

    def _on_lost(self, owner: Recorder) -> None:
        self.is_lost = True
        has_left = self.peer.has_left
        if not (self.is_closed or has_left):
            self.world.fail(f"{self} is lost without a reason: {owner.error!r}")
        if isinstance(owner.error, OSError) and not has_left:
            self.world.fail(f"{self} is lost by the error of another: {owner.error!r}")
        if isinstance(owner.error, OSError) and self.fd >= 0 and self.is_number_ours():
            self._take_unread(owner)

    def _take_unread(self, owner: Recorder) -> None:
        """Read what an error has left unread, as a relay does."""
        try:
            while data := os.read(self.fd, 65_536):
                owner.received += data
        except OSError:
            pass
        self._take(owner)

    def _react(self, name: str) -> None:
        if self.reactions:
            self.reactions -= 1
            self.world.act(self.random, self)
        if name == "connection_lost" and self.random.random() < 0.5:
            # The stream's memory is freed, unless somebody else needs it.
            self.stream = self.owner.stream = None
        if self.will_raise:
            self.will_raise = False
            if name != "connection_lost":
                self.is_closed = self.is_aborted = True
            raise Intended

    # The descriptor

    def learn_number(self, fd: int) -> None:
        """Remember the descriptor, and what is behind it."""
        self.fd, self._inode = fd, os.fstat(fd).st_ino

    def is_number_ours(self) -> bool:
        """Return whether the descriptor is still that of the connection."""
        try:
            return os.fstat(self.fd).st_ino == self._inode
        except OSError:
            return False
