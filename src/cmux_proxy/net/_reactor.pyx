# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, binding=False
"""Waits for the events of many descriptors with one epoll, and hands them to their sources.

Compiled builds on Linux only. An event carries its descriptor and a generation, never a pointer: a
descriptor may be closed and opened again as something else before a late event of the first is
read. For the same reason connections report their loss, and close, at the end of a batch of events
and never within it.
Knows nothing of connections: `_native_stream.pyx` and `_native_acceptor.pyx` have the sources. An
event loop calls `poll` when the epoll is readable; `_turns.pyx` is for a loop that the reactor leads.
"""

from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject
from libc.errno cimport EBADF, errno
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from posix.unistd cimport close

from cmux_proxy.net._epoll cimport (
    EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL, epoll_create1, epoll_ctl, epoll_event, epoll_wait,
)
from cmux_proxy.net._errors cimport report_error, system_error
from cmux_proxy.net._event_source cimport Source
from cmux_proxy.net._slots cimport (
    CLOSING, LAST, TURNS, Slot, grow_slots, is_any_listed, put, source_at, step, take,
)

cdef enum:
    FIRST_SLOTS = 256


cdef class Reactor:
    """One epoll and its sources; `loop` is the event loop that hosts it."""

    def __cinit__(self, loop):
        self.loop = loop
        self.epoll = epoll_create1(EPOLL_CLOEXEC)
        if self.epoll < 0:
            raise system_error(errno)
        self.events = <epoll_event*>malloc(MAX_EVENTS * sizeof(epoll_event))
        self.buffer = <char*>malloc(BUFFER_SIZE)
        if self.events == NULL or self.buffer == NULL:
            raise MemoryError
        self.slots = grow_slots(NULL, &self.slot_count, FIRST_SLOTS - 1)
        self.lists[TURNS].first = self.lists[CLOSING].first = LAST
        self.arrival = NOBODY
        self.callbacks = []

    def __dealloc__(self):
        if self.epoll >= 0:
            close(self.epoll)
        free(self.events)
        free(self.buffer)
        free(self.slots)

    def fileno(self):
        """Return the epoll's descriptor, which is readable while there are events."""
        return self.epoll

    def poll(self):
        """Act on the events that there are, without waiting for any."""
        cdef int count
        self.is_scheduled = False
        if self.epoll < 0:
            return
        count = epoll_wait(self.epoll, self.events, MAX_EVENTS, 0)
        try:
            self.run_batch(count)
        finally:
            if is_any_listed(self.lists):
                self._schedule()

    def close(self):
        """Abort all connections and close the epoll; idempotent."""
        cdef int fd
        if self.is_closed:
            return
        self.is_closed = True
        for fd in range(self.slot_count):
            if self.slots[fd].source != NULL:
                (<Source>self.slots[fd].source).abandon()
        while self.lists[CLOSING].first != LAST:
            self.run_batch(0)
        close(self.epoll)
        self.epoll = -1

    # Sources

    cdef int add(self, Source source, uint32_t events) except -1:
        """Hand these events of a new source to it from now on; raise OSError."""
        self.reserve(source)
        try:
            return self.watch(EPOLL_CTL_ADD, source.fd, events)
        except BaseException:
            self.forget(source.fd)
            raise

    cdef int reserve(self, Source source) except -1:
        """Keep a new source, but wait for no events yet; raise OSError once it is closed."""
        cdef Slot* slot
        if self.is_closed:
            raise system_error(EBADF)
        if source.fd >= self.slot_count:
            self.slots = grow_slots(self.slots, &self.slot_count, source.fd)
        slot = &self.slots[source.fd]
        if slot.source != NULL:
            self._make_room(source.fd)
        Py_INCREF(source)
        slot.source = <PyObject*>source
        slot.generation += 1
        return 0

    cdef int _make_room(self, int fd) except -1:
        """Forget a source whose descriptor was closed; raise RuntimeError where it is in use."""
        cdef epoll_event event
        event.events = 0
        # The kernel has forgotten what was closed, unless a copy of the descriptor is open.
        if epoll_ctl(self.epoll, EPOLL_CTL_ADD, fd, &event) == 0:
            self.unwatch(fd)
            if self.evict is not None and self.evict(fd):
                return self.forget(fd)
        raise RuntimeError(f"descriptor {fd} is watched already")

    cdef int watch(self, int operation, int fd, uint32_t events) except -1:
        """Add or change the events to wait for; raise OSError."""
        cdef epoll_event event
        event.events = events
        event.data.u64 = (<uint64_t>self.slots[fd].generation << 32) | <uint32_t>fd
        if epoll_ctl(self.epoll, operation, fd, &event) < 0:
            raise system_error(errno)
        return 0

    cdef int unwatch(self, int fd) except -1:
        """Wait for no more events of a descriptor that stays open."""
        cdef epoll_event event
        epoll_ctl(self.epoll, EPOLL_CTL_DEL, fd, &event)
        return 0

    cdef int forget(self, int fd) except -1:
        """Keep the source no longer; its late events have no effect."""
        cdef PyObject* source = self.slots[fd].source
        if source != NULL:
            self.slots[fd].source = NULL
            self.slots[fd].generation += 1
            Py_DECREF(<object>source)
        return 0

    # Turns

    cdef int read_again(self, Source source) except -1:
        """Call `on_turn` in the next turn, because no event may announce what is left."""
        put(self.slots, self.lists, TURNS, source.fd)
        return self._schedule()

    cdef int close_later(self, Source source) except -1:
        """Call `on_closing` at the end of this batch, or of the next one."""
        put(self.slots, self.lists, CLOSING, source.fd)
        return self._schedule()

    cdef int _schedule(self) except -1:
        """See that there is another batch, because no event announces it."""
        if not (self.is_in_batch or self.is_scheduled or self.is_leading or self.is_closed):
            self.loop.call_soon(self.poll)
            self.is_scheduled = True
        return 0

    def call_soon(self, callback):
        """Call back behind the events of this batch, or in the next turn of the loop."""
        if self.takes_callbacks:
            self.callbacks.append(callback)
        else:
            self.loop.call_soon(callback)

    cdef int run_batch(self, int count) except -1:
        """Act on the first `count` events, and on what was put off; raise what ends the process."""
        cdef int done = 0
        # What is put off from now on is for the next batch.
        cdef int turns = take(self.lists, TURNS)
        self.is_in_batch = self.takes_callbacks = True
        try:
            while done < count:
                done = self._dispatch_events(done, count)
            self._call_list(TURNS, turns)
            self.takes_callbacks = False
            if self.callbacks:
                self._call_back()
            while self.lists[CLOSING].first != LAST:
                self._call_list(CLOSING, take(self.lists, CLOSING))
        finally:
            self.is_in_batch = self.takes_callbacks = False
        if self.interrupt is not None:
            error, self.interrupt = self.interrupt, None
            raise error
        return 0

    cdef int _dispatch_events(self, int first, int count) except -1:
        """Act on events; return the number of the next one. Stops behind one that has failed."""
        cdef int i = first
        cdef int fd
        cdef uint64_t data
        cdef Source source = None
        try:
            while i < count:
                data = self.events[i].data.u64
                fd = <int><uint32_t>data
                i += 1
                if self.slots[fd].source == NULL:
                    continue
                if self.slots[fd].generation != <uint32_t>(data >> 32):
                    continue
                source = <Source>self.slots[fd].source
                source.on_events(self.events[i - 1].events)
        except BaseException as error:
            self._on_raised(source, error)
        return i

    cdef int _call_list(self, int which, int fd) except -1:
        """Call the sources of a list that was taken, from this descriptor on."""
        cdef Source source
        while fd != LAST:
            source = source_at(self.slots, fd)
            fd = step(self.slots, which, fd)
            try:
                if source is None:
                    continue
                if which == TURNS:
                    source.on_turn()
                else:
                    source.on_closing()
            except BaseException as error:
                self._on_raised(source if which == TURNS else None, error)
        return 0

    cdef int _call_back(self) except -1:
        """Call what `call_soon` was given."""
        for callback in self.callbacks:
            try:
                callback()
            except BaseException as error:
                self._on_raised(None, error)
        self.callbacks.clear()

    cdef int _on_raised(self, Source source, object error) except -1:
        """Note what is to end the process, after the batch; report anything else to the source."""
        if isinstance(error, (SystemExit, KeyboardInterrupt)):
            self.interrupt = error
        elif source is not None:
            source.on_error(error)
        else:
            report_error(self.loop, "a call at the end of a batch failed", error, None)
        return 0
