"""The table of a reactor's sources by descriptor, and the lists of those that are called later.

The lists go through the slots, so that nothing has to be allocated to put a source into one: a
connection can be closed where no memory is left.
"""

from cpython.ref cimport PyObject
from libc.stdint cimport uint32_t
from libc.stdlib cimport realloc
from libc.string cimport memset

from cmux_proxy.net._event_source cimport Source

cdef enum:
    TURNS  # `on_turn`, in the next batch
    CLOSING  # `on_closing`, at the end of this batch
    LISTS  # how many lists there are

cdef enum:
    # The end of a list; also what an empty one begins with.
    LAST = -1


cdef struct Slot:
    # NULL where nothing is watched.
    PyObject* source
    # Changes with each source, so that late events of a closed descriptor are recognized.
    uint32_t generation
    # Of each list: 0 for a slot that is not in it, LAST, or the next descriptor plus one.
    int next[LISTS]


cdef struct SlotList:
    int first
    int last


cdef inline Slot* grow_slots(Slot* slots, int* count, int fd) except NULL:
    """Return a table with a slot for `fd`, and set its `count`; the slots added are empty."""
    cdef int new_count = max(2 * count[0], fd + 1)
    slots = <Slot*>realloc(slots, new_count * sizeof(Slot))
    if slots == NULL:
        raise MemoryError
    memset(&slots[count[0]], 0, (new_count - count[0]) * sizeof(Slot))
    count[0] = new_count
    return slots


cdef inline Source source_at(Slot* slots, int fd):
    """Return the source of a descriptor, or None."""
    return None if slots[fd].source == NULL else <Source>slots[fd].source


cdef inline bint is_any_listed(SlotList* lists) noexcept:
    """Return whether a source is in one of the lists."""
    return lists[TURNS].first != LAST or lists[CLOSING].first != LAST


cdef inline void put(Slot* slots, SlotList* lists, int which, int fd) noexcept:
    """Add a descriptor to a list, unless it is in it."""
    if slots[fd].next[which]:
        return
    slots[fd].next[which] = LAST
    if lists[which].first == LAST:
        lists[which].first = fd
    else:
        slots[lists[which].last].next[which] = fd + 1
    lists[which].last = fd


cdef inline int take(SlotList* lists, int which) noexcept:
    """Empty a list; return its first descriptor or LAST, from which `step` goes on."""
    cdef int fd = lists[which].first
    lists[which].first = LAST
    return fd


cdef inline int step(Slot* slots, int which, int fd) noexcept:
    """Remove a descriptor from the list that was taken; return the next one, or LAST."""
    cdef int following = slots[fd].next[which]
    slots[fd].next[which] = 0
    return LAST if following == LAST else following - 1
