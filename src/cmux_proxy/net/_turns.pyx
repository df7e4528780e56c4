# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, binding=False
"""The turns of an event loop that the reactor leads: they stay in C until asyncio has work.

asyncio's loop calls `select` once for each of its turns. It waits for the reactor's own sources and
for the descriptors that asyncio watches, acts on the former, and returns when there is something
for asyncio: an event of its descriptors, a callback that is ready, a timer that is due or new.
Neighbour: `native_loop.py` makes the loop.
"""

from cpython.exc cimport PyErr_CheckSignals
from libc.errno cimport EINTR, errno
from libc.stdint cimport uint32_t

from cmux_proxy.net._busy_polling cimport BusyPolling
from cmux_proxy.net._epoll cimport (
    EPOLL_CTL_MOD, EPOLLIN, EPOLLOUT, epoll_wait, monotonic_seconds,
)
from cmux_proxy.net._errors cimport system_error
from cmux_proxy.net._event_source cimport Source
from cmux_proxy.net._reactor cimport MAX_EVENTS, Reactor
from cmux_proxy.net._slots cimport CLOSING, LAST, is_any_listed

cdef enum:
    READ = 1  # selectors.EVENT_READ
    WRITE = 2  # selectors.EVENT_WRITE


cdef class Watch(Source):
    """A descriptor that asyncio watches; its events are collected for `Turns.select`."""

    cdef Reactor reactor
    cdef list found
    # None once it is watched no longer.
    cdef object key

    cdef int on_events(self, uint32_t events) except -1:
        """Note what the descriptor is ready for; an error makes it ready for everything."""
        cdef int ready = 0
        if events & ~EPOLLIN:
            ready |= WRITE
        if events & ~EPOLLOUT:
            ready |= READ
        self.found.append((self, ready))
        return 0

    cdef int abandon(self) except -1:
        """The reactor closes; asyncio owns the descriptor."""
        return self.reactor.forget(self.fd)


cdef class Turns:
    """What asyncio's loop waits with; `lead` is called once the loop exists."""

    cdef readonly Reactor reactor
    # Shared with the watches, which add to it.
    cdef list found
    # asyncio's private queues, None where it has none by those names: then each turn returns.
    cdef object ready
    cdef object timers
    # None while the loop sleeps at once.
    cdef BusyPolling busy_polling
    # The loop is to stop, and has to be asked.
    cdef bint is_stopping

    def __init__(self):
        self.reactor = Reactor(None)
        self.reactor.is_leading = True
        self.found = []

    def lead(self, loop):
        """Run the turns of this loop."""
        self.reactor.loop = loop
        self.ready = getattr(loop, "_ready", None)

    def poll_busily(self, windows):
        """Poll before the loop sleeps, for as long as these windows allow (`busy_poll.py`)."""
        self.busy_polling = BusyPolling(windows)

    def stop(self):
        """Let `select` return, because the loop stops after this turn."""
        self.is_stopping = True

    def watch(self, int fd, int events, key):
        """Report these events of a descriptor, with its key."""
        cdef Watch watch = Watch.__new__(Watch)
        watch.fd = fd
        watch.reactor = self.reactor
        watch.found = self.found
        watch.key = key
        self.reactor.add(watch, _mask(events))

    def change(self, int fd, int events, key):
        """Report other events, or with another key."""
        (<Watch>self.reactor.slots[fd].source).key = key
        self.reactor.watch(EPOLL_CTL_MOD, fd, _mask(events))

    def unwatch(self, int fd):
        """Report nothing of a descriptor any more."""
        (<Watch>self.reactor.slots[fd].source).key = None
        self.reactor.unwatch(fd)
        self.reactor.forget(fd)

    def select(self, timeout):
        """Return keys and their events once asyncio has something to do, after `timeout` seconds.

        None waits without end.
        """
        cdef double deadline = 0.0
        cdef double left = -1.0
        cdef Py_ssize_t timers = self._look_up_timers()
        self.is_stopping = False
        if timeout is not None:
            left = max(<double>timeout, 0.0)
            deadline = monotonic_seconds() + left
        if self.reactor.lists[CLOSING].first != LAST:
            self.reactor.run_batch(0)
        while True:
            self._wait(left)
            PyErr_CheckSignals()
            if self._has_work(timers):
                break
            if timeout is not None:
                left = deadline - monotonic_seconds()
                if left <= 0:
                    break
        return self._take_found()

    cdef Py_ssize_t _look_up_timers(self) except -1:
        """Return how many there are; asyncio sometimes replaces the list, to drop cancelled ones."""
        self.timers = getattr(self.reactor.loop, "_scheduled", None)
        return 0 if self.timers is None else len(self.timers)

    cdef list _take_found(self):
        """Return the keys and events that were found.

        A callback of the reactor's own sources may have changed a key since, or removed it.
        """
        cdef Watch watch
        cdef list found = [
            (watch.key, ready) for watch, ready in self.found if watch.key is not None
        ]
        self.found.clear()
        return found

    cdef bint _has_work(self, Py_ssize_t timers) except -1:
        """Return whether asyncio has something to do."""
        if self.found or self.is_stopping or self.ready is None or self.timers is None or self.ready:
            return True
        return len(self.timers) != timers

    cdef int _wait(self, double seconds) except -1:
        """Wait for events, at most `seconds` unless that is negative, and act on them."""
        cdef Reactor reactor = self.reactor
        cdef int count
        cdef int milliseconds = -1
        if is_any_listed(reactor.lists) or self.ready:
            milliseconds = 0
        elif seconds >= 0:
            # Never early: asyncio would call again and again.
            milliseconds = <int>(min(seconds, 86400.0) * 1000 + 0.999)
        if milliseconds and self.busy_polling is not None:
            count = self.busy_polling.wait(reactor, milliseconds)
        else:
            with nogil:
                count = epoll_wait(reactor.epoll, reactor.events, MAX_EVENTS, milliseconds)
        if count < 0:
            if errno != EINTR:
                raise system_error(errno)
            count = 0
        return reactor.run_batch(count)


cdef uint32_t _mask(int events):
    return (EPOLLIN if events & READ else 0) | (EPOLLOUT if events & WRITE else 0)
