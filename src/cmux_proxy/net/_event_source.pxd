from libc.stdint cimport uint32_t


cdef class Source:
    cdef int fd

    cdef int on_events(self, uint32_t events) except -1
    cdef int on_turn(self) except -1
    cdef int on_closing(self) except -1
    cdef int on_error(self, object error) except -1
    cdef int abandon(self) except -1
