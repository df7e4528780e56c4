# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, binding=False
"""Reads the bytes of a native stream, once for each event that announces some.

A full read is continued in the next turn (`_reactor.pyx`), so that others have their turn first.
So is a large transfer, in which bytes are moved instead (`_native_splice.pyx`).
"""

from cpython.buffer cimport PyBUF_WRITABLE, Py_buffer, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport uint32_t

from cmux_proxy.net._epoll cimport FOLLOWED_EVENTS
from cmux_proxy.net._errors cimport system_error
from cmux_proxy.net._native_splice cimport DRAINED, MOVED, SpliceResult, splice_bytes
from cmux_proxy.net._native_stream cimport (
    DIALED, ENDED, IN_TURN, INTO_BUFFER, NOT_READ, SPLICED, UNREAD, NativeStream,
)
from cmux_proxy.net._reactor cimport FROM_CLIENT, FROM_UPSTREAM
from cmux_proxy.net._sockets cimport recv


cdef int read(NativeStream stream, uint32_t events) except -1:
    """Read once, or to the end where there is more than bytes; a full read is continued later.

    A read that is not full has emptied the socket, unless it ended at an urgent byte, or the
    peer's end or an error follows: those come with `events`.
    """
    cdef Py_ssize_t size
    cdef ssize_t count
    cdef int error = 0
    cdef SpliceResult result
    while True:
        # The owner, and what it wants, may change with each read.
        if stream.state & NOT_READ:
            stream.state |= UNREAD
            stream.missed |= events & FOLLOWED_EVENTS
            return 0
        if stream.state & SPLICED:
            result = splice_bytes(stream, events)
            if result == MOVED:
                stream.missed |= events & FOLLOWED_EVENTS
                return _read_later(stream)
            if result == DRAINED:
                return 0
        size = stream.read_size
        if stream.state & INTO_BUFFER:
            count = _read_into_buffer(stream, &size, &error)
        else:
            count = _read_bytes(stream, size, &error)
        if count == size:
            stream.missed |= events & FOLLOWED_EVENTS
            return _read_later(stream)
        if count > 0:
            if not events & FOLLOWED_EVENTS:
                return 0
        elif count == 0:
            return _end(stream)
        elif error == EAGAIN:
            return 0
        elif error != EINTR:
            return stream.drop(system_error(error))


cdef int _read_later(NativeStream stream) except -1:
    """Leave the rest for the next turn: others have their turn first."""
    stream.state |= UNREAD
    if not stream.state & (NOT_READ | IN_TURN):
        stream.state |= IN_TURN
        stream.reactor.read_again(stream)
    return 0


cdef ssize_t _read_bytes(NativeStream stream, Py_ssize_t size, int* error) except -2:
    """Read and hand the bytes over; return how many, 0 at the end, -1 for `error`."""
    cdef char* buffer = stream.reactor.buffer
    cdef ssize_t count = recv(stream.fd, buffer, size, 0)
    if count > 0:
        stream.reactor.arrival = FROM_UPSTREAM if stream.state & DIALED else FROM_CLIENT
        stream.owner.data_received(PyBytes_FromStringAndSize(buffer, count))
    elif count < 0:
        error[0] = errno
    return count


cdef ssize_t _read_into_buffer(NativeStream stream, Py_ssize_t* size, int* error) except -2:
    """Do the same for an owner that brings a buffer, which has `size` bytes."""
    cdef Py_buffer view
    cdef ssize_t count
    owner = stream.owner
    PyObject_GetBuffer(owner.get_buffer(-1), &view, PyBUF_WRITABLE)
    size[0] = view.len
    if not view.len:
        # It would look like the end, or like a full read.
        PyBuffer_Release(&view)
        raise RuntimeError("get_buffer() returned an empty buffer")
    count = recv(stream.fd, view.buf, view.len, 0)
    # Releasing the buffer may set errno.
    error[0] = errno
    PyBuffer_Release(&view)
    if count > 0:
        stream.reactor.arrival = FROM_UPSTREAM if stream.state & DIALED else FROM_CLIENT
        owner.buffer_updated(count)
    return count


cdef int _end(NativeStream stream) except -1:
    """The peer has sent its end; nothing is read from now on."""
    stream.state |= ENDED
    if not stream.owner.eof_received():
        stream.close()
    return 0
