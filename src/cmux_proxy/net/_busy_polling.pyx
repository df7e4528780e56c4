# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, binding=False
"""Busy polling in C, for a loop that a reactor leads: it polls for a while before it sleeps.

Streams note in the reactor which side has sent something. How long to poll for the other side is
learnt as `busy_poll.py` describes, which does the same for all other loops.
"""

from cmux_proxy.net._epoll cimport epoll_wait, monotonic_seconds
from cmux_proxy.net._reactor cimport MAX_EVENTS, NOBODY, Reactor


cdef class BusyPolling:
    """Waits for events, with two windows, by the side that has sent something (`Window`)."""

    def __init__(self, windows):
        self.windows = windows
        self.window = windows[0]
        self.has_slept = True
        self.since = self.woken = monotonic_seconds()

    cdef int wait(self, Reactor reactor, int milliseconds) except -2:
        """Wait for events as `epoll_wait` does, and return what it returns."""
        cdef int count = 0
        cdef double now = monotonic_seconds()
        if reactor.arrival != NOBODY:
            self._start(reactor.arrival, now)
            reactor.arrival = NOBODY
        if now < self.until:
            count = self._poll(reactor, &milliseconds, now)
        if count or not milliseconds:
            return count
        self.has_slept = True
        with nogil:
            count = epoll_wait(reactor.epoll, reactor.events, MAX_EVENTS, milliseconds)
            self.woken = monotonic_seconds()
        return count

    cdef int _start(self, int sender, double now) except -1:
        """Learn from the wait that is over, and wait for the side that follows `sender`."""
        if self.has_slept:
            self.window.miss(self.woken - self.since)
        else:
            self.window.hit()
        self.has_slept = False
        self.window = self.windows[sender]
        self.since = now
        self.until = now + <double>self.window.length
        return 0

    cdef int _poll(self, Reactor reactor, int* milliseconds, double now) except -2:
        """Poll until there are events or the window is over; `milliseconds` becomes what is left."""
        cdef int count = 0
        cdef double start = now
        cdef double end = self.until
        if milliseconds[0] >= 0:
            end = min(end, start + milliseconds[0] * 1e-3)
        with nogil:
            while count == 0 and now < end:
                count = epoll_wait(reactor.epoll, reactor.events, MAX_EVENTS, 0)
                now = monotonic_seconds()
        if milliseconds[0] >= 0:
            milliseconds[0] = max(milliseconds[0] - <int>((now - start) * 1000), 0)
        return count
