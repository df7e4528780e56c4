"""An asyncio event loop whose turns stay in C while only connections of the proxy have work.

Compiled builds on Linux only. asyncio's own selector loop is given a selector that waits with the
reactor (`_turns.pyx`). Everything else, such as tasks, timers and subprocesses, is asyncio's.
"""

import asyncio
import selectors
from collections.abc import Iterator, Mapping
from typing import Any, Final

from cmux_proxy.net._reactor import Reactor
from cmux_proxy.net._turns import Turns
from cmux_proxy.net.busy_poll import Window


class Keys(Mapping[Any, selectors.SelectorKey]):
    """The keys of a selector, by descriptor or by an object with one, which may be closed."""

    def __init__(self) -> None:
        self.by_descriptor: dict[int, selectors.SelectorKey] = {}

    def __getitem__(self, fileobj: Any) -> selectors.SelectorKey:
        fd = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        if fd >= 0:
            return self.by_descriptor[fd]
        for key in self.by_descriptor.values():
            if key.fileobj is fileobj:
                return key
        raise KeyError(fileobj)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.by_descriptor)

    def __len__(self) -> int:
        return len(self.by_descriptor)


class ReactorSelector(selectors.BaseSelector):
    """A selector that serves the connections of its reactor while it waits."""

    def __init__(self) -> None:
        self.turns: Final = Turns()
        self._keys = Keys()
        self.turns.reactor.evict = self._evict

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Watch a file; raise KeyError where it is watched already."""
        fd = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        if fd in self._keys:
            raise KeyError(f"descriptor {fd} is registered already")
        key = selectors.SelectorKey(fileobj, fd, events, data)
        self.turns.watch(fd, events, key)
        self._keys.by_descriptor[fd] = key
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """Watch a file no longer; raise KeyError where it is not watched."""
        key = self._keys[fileobj]
        del self._keys.by_descriptor[key.fd]
        self.turns.unwatch(key.fd)
        return key

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Watch for other events; raise KeyError where the file is not watched."""
        key = self._keys[fileobj]._replace(events=events, data=data)
        try:
            self.turns.change(key.fd, events, key)
        except FileNotFoundError:
            # The file was closed while it was watched, and another one has its number.
            self.turns.unwatch(key.fd)
            self.turns.watch(key.fd, events, key)
        self._keys.by_descriptor[key.fd] = key
        return key

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return the files that are ready once there are some, or asyncio has something to do."""
        found = self.turns.select(timeout)
        return [(key, ready & key.events) for key, ready in found if ready & key.events]

    def close(self) -> None:
        """Abort the connections of the reactor, and close it."""
        self._keys.by_descriptor.clear()
        self.turns.reactor.close()

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """Return the keys by descriptor or file."""
        return self._keys

    def _evict(self, fd: int) -> bool:
        """Forget a closed file, whose number a stream has now; return whether there was one."""
        if self._keys.by_descriptor.pop(fd, None) is None:
            return False
        self.turns.unwatch(fd)
        return True


class NativeLoop(asyncio.SelectorEventLoop):
    """asyncio's loop with a reactor, which serves all native streams of the loop."""

    def __init__(self) -> None:
        selector = ReactorSelector()
        self.reactor: Final[Reactor] = selector.turns.reactor
        super().__init__(selector)
        # By the side that has sent something; None while the loop does not poll.
        self.busy_poll_windows: tuple[Window, Window] | None = None
        self._turns: Final = selector.turns
        self._turns.lead(self)

    def poll_busily(self, max_length: float) -> None:
        """Poll for events for at most `max_length` seconds before the loop sleeps."""
        self.busy_poll_windows = (Window(max_length), Window(max_length))
        self._turns.poll_busily(self.busy_poll_windows)

    def stop(self) -> None:
        """Stop after this turn."""
        super().stop()
        self._turns.stop()
