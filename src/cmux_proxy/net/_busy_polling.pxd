from cmux_proxy.net._reactor cimport Reactor


cdef class BusyPolling:
    cdef tuple windows
    # The window for the side that is waited for.
    cdef object window
    # When the wait started, and until when it polls, in seconds.
    cdef double since
    cdef double until
    # The loop has slept in this wait, and woke up last at this time.
    cdef bint has_slept
    cdef double woken

    cdef int wait(self, Reactor reactor, int milliseconds) except -2
    cdef int _start(self, int sender, double now) except -1
    cdef int _poll(self, Reactor reactor, int* milliseconds, double now) except -2
