"""One program while it is played: what is open, what has happened, and what has failed."""

import asyncio
import contextlib
import os
import time
from collections.abc import Iterator
from random import Random
from typing import Any, Final

from cmux_proxy.net._reactor import Reactor
from fuzz.churn.actions import ACTIONS
from fuzz.churn.connection import Connection, Intended
from fuzz.churn.expected import missing
from fuzz.churn.openings import Openings
from fuzz.churn.watched import Watched
from tests.helpers.timing import SOON

_PATIENCE: Final = 0.2 * SOON
_MIN_TURNS: Final = 500
_QUIET_TURNS: Final = 3
# How many lines of what has happened are reported.
_SHOWN: Final = 60


class World:
    """The state of the program `name`."""

    def __init__(self, name: str, reactor: Reactor) -> None:
        self.name = name
        self.loop: Final = asyncio.get_running_loop()
        self.random = Random(name)
        self.connections: list[Connection] = []
        self.watched: list[Watched] = []
        # The call of ours that runs: no stream may report its loss within it.
        self.call = ""
        self.is_ending = False
        self.openings = Openings(self, reactor)
        self._failures: list[str] = []
        self._trace: list[str] = []
        self._handler = self.loop.get_exception_handler()
        self.loop.set_exception_handler(self._on_error)

    # What happens

    def note(self, text: str) -> None:
        """Remember what happens, for the report of a failure."""
        self._trace.append(text)

    def fail(self, text: str) -> None:
        """Remember a failure: raised in a callback, it would only end a connection."""
        self._failures.append(text)
        self.note(f"FAILURE {text}")

    def act(self, random: Random, itself: Connection | None = None) -> None:
        """Do something at random, to the connection that reacts or to another one."""
        if self.is_ending:
            return
        [action] = random.choices(list(ACTIONS), weights=list(ACTIONS.values()))
        target = itself
        if (target is None or random.random() < 0.6) and self.connections:
            target = random.choice(self.connections)
        if target is not None and target.stream is not None:
            self.note(f"{action.__name__} {target}")
            try:
                action(self, target, random)
            except Exception as error:
                self.fail(f"{action.__name__} raises {error!r}")

    @contextlib.contextmanager
    def calling(self, name: str) -> Iterator[None]:
        """Let the callbacks know within which call they are."""
        before, self.call = self.call, name
        try:
            yield
        finally:
            self.call = before

    def _on_error(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, Intended):
            self.fail(f"the event loop reports {context.get('message')}: {error!r}")

    # Waiting

    async def settle(self) -> None:
        """Wait until nothing more happens; raise AssertionError where something is missing."""
        end = time.monotonic() + _PATIENCE
        turns = quiet = 0
        while quiet < _QUIET_TURNS or self._missing():
            if self._failures or (time.monotonic() > end and turns > _MIN_TURNS):
                break
            before = len(self._trace)
            if quiet:
                self._drain()
            await asyncio.sleep(0)
            turns += 1
            quiet = quiet + 1 if len(self._trace) == before else 0
        text = "; ".join(self._failures) or self._missing()
        if text:
            raise AssertionError("\n".join([text, *self._trace[-_SHOWN:]]))
        for connection in self.connections:
            connection.is_touched = False

    def _drain(self) -> None:
        for connection in self.connections:
            before = connection.peer.received
            problem = connection.peer.drain()
            if problem:
                self.fail(f"{connection}: {problem}")
            if connection.peer.received > connection.written:
                self.fail(f"{connection}: the peer receives more than was written")
            if connection.peer.received > before:
                self.note(f"{connection}: the peer receives")

    def _missing(self) -> str:
        for connection in self.connections:
            if text := missing(connection):
                return f"{connection} misses {text}"
        for watched in self.watched:
            if text := watched.missing():
                return f"{watched} misses {text}"
        return "a connection was not accepted" if self.openings.dialed else ""

    # The end

    def release_all(self) -> None:
        """Let everything read, and nobody react any more."""
        self.is_ending = True
        for watched in self.watched:
            watched.feed(1)
        for connection in self.connections:
            connection.peer.is_held = False
            self._release(connection)
            if connection.is_paused and not connection.is_lost:
                connection.is_paused = False
                connection.is_touched = True
                connection.stream.resume_reading()

    def close_streams(self) -> None:
        """Close or abort all streams that are open."""
        for connection in self.connections:
            if not connection.is_lost:
                connection.is_closed = True
                name = self.random.choice(("abort", "close"))
                connection.is_aborted |= name == "abort"
                with self.calling(name):
                    getattr(connection.stream, name)()

    def close(self) -> None:
        """Close the descriptors that are not those of streams."""
        self.loop.set_exception_handler(self._handler)
        self.openings.close()
        for watched in self.watched:
            if watched.is_open:
                watched.close()
        for connection in self.connections:
            connection.peer.sock.close()
            self._release(connection)

    def _release(self, connection: Connection) -> None:
        while connection.kept:
            os.close(connection.kept.pop())
