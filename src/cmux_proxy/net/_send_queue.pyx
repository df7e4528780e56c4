# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, binding=False
"""Bytes that wait until a socket has room for them. Made where a write is cut short, which is rare.

Knows one descriptor and neither events nor owners: see `_native_stream.pyx`.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.errno cimport EAGAIN, EINTR, errno

from cmux_proxy.net._sockets cimport MSG_NOSIGNAL, send


cdef class SendQueue:
    """The parts that wait, oldest first; `unsent` is the sum of their bytes."""

    def __cinit__(self):
        self._parts = []

    cdef int add(self, bytes part, Py_ssize_t sent) except -1:
        """Add a part of which `sent` bytes have left already; only the first may have some."""
        if not self._parts:
            self._sent = sent
        self._parts.append(part)
        self.unsent += PyBytes_GET_SIZE(part) - sent
        return 0

    cdef SendResult flush(self, int fd) except *:
        """Send as much as the socket takes."""
        cdef bytes first
        cdef Py_ssize_t size
        cdef ssize_t count
        while self._parts:
            first = <bytes>self._parts[0]
            size = PyBytes_GET_SIZE(first) - self._sent
            count = send(fd, PyBytes_AS_STRING(first) + self._sent, size, MSG_NOSIGNAL)
            if count < 0:
                if errno == EINTR:
                    continue
                return NO_ROOM if errno == EAGAIN else FAILED
            self.unsent -= count
            self._sent += count
            if count == size:
                self._sent = 0
                del self._parts[0]
        return SENT
