from cmux_proxy.net._event_source cimport Source
from cmux_proxy.net._reactor cimport Reactor


cdef class NativeAcceptor(Source):
    cdef Reactor _reactor
    # Keeps the descriptor open.
    cdef object _sock
    cdef object _factory
    cdef object _has_room
    cdef object _on_stopped
    cdef int _family
    cdef bint _is_on

    cdef int _accept(self, int max_count, bint is_last) except -1
    cdef object _make_owner(self, int fd)
    cdef int _give_up(self) except -1
