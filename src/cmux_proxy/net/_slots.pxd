"""The table of a reactor: by descriptor, who owns it (`_reactor.pyx`)."""

from cpython.ref cimport PyObject
from libc.stdint cimport uint32_t
from libc.stdlib cimport realloc
from libc.string cimport memset


cdef struct Slot:
    PyObject* source
    # Changes with each source, so that late events of a closed descriptor are recognized.
    uint32_t generation


cdef inline Slot* grow_slots(Slot* slots, int* count, int fd) except NULL:
    """Return a table with a slot for `fd`, and set its `count`; the slots added are empty."""
    cdef int new_count = max(2 * count[0], fd + 1)
    slots = <Slot*>realloc(slots, new_count * sizeof(Slot))
    if slots == NULL:
        raise MemoryError
    memset(&slots[count[0]], 0, (new_count - count[0]) * sizeof(Slot))
    count[0] = new_count
    return slots
