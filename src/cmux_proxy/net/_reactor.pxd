from libc.stdint cimport uint32_t

from cmux_proxy.net._epoll cimport epoll_event
from cmux_proxy.net._event_source cimport Source
from cmux_proxy.net._slots cimport LISTS, Slot, SlotList


cdef enum:
    # Events of one batch. More would make the first sources wait for the last.
    MAX_EVENTS = 256
    # As much as one read may bring (`limits.buffer`).
    BUFFER_SIZE = 256 * 1024
    # As in `busy_poll.py`: which side has sent something last.
    FROM_CLIENT = 0
    FROM_UPSTREAM = 1
    NOBODY = -1


cdef class Reactor:
    cdef public object loop
    cdef char* buffer
    # The sources that have more to do in the next turn, and those whose descriptors are closed at
    # the end of this one.
    cdef SlotList lists[LISTS]
    # Set while the reactor waits for the event loop's own descriptors too (`_turns.pyx`).
    cdef bint is_leading
    # Which side has sent something since this was last set to NOBODY (`_busy_polling.pyx`).
    cdef int arrival
    # Called with a descriptor of which a source is left although the kernel watches it no longer:
    # the file was closed before its reader was removed. Returns whether the loop has forgotten it.
    cdef public object evict
    cdef int epoll
    cdef epoll_event* events
    cdef Slot* slots
    cdef int slot_count
    cdef bint is_in_batch
    cdef bint is_scheduled
    cdef bint is_closed
    # What is called behind the events of this batch, and whether it takes more.
    cdef list callbacks
    cdef bint takes_callbacks
    cdef object interrupt

    cdef int add(self, Source source, uint32_t events) except -1
    cdef int reserve(self, Source source) except -1
    cdef int watch(self, int operation, int fd, uint32_t events) except -1
    cdef int unwatch(self, int fd) except -1
    cdef int forget(self, int fd) except -1
    cdef int read_again(self, Source source) except -1
    cdef int close_later(self, Source source) except -1
    cdef int run_batch(self, int count) except -1
    cdef int _make_room(self, int fd) except -1
    cdef int _schedule(self) except -1
    cdef int _dispatch_events(self, int first, int count) except -1
    cdef int _call_list(self, int which, int fd) except -1
    cdef int _call_back(self) except -1
    cdef int _on_raised(self, Source source, object error) except -1
