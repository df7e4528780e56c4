cdef enum SendResult:
    SENT
    NO_ROOM
    FAILED  # errno has the reason


cdef class SendQueue:
    cdef list _parts
    # How many bytes of the first part were sent.
    cdef Py_ssize_t _sent
    cdef Py_ssize_t unsent

    cdef int add(self, bytes part, Py_ssize_t sent) except -1
    cdef SendResult flush(self, int fd) except *
