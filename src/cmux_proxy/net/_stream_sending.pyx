# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, binding=False
"""Sends the bytes of a native stream, and keeps those for which its socket has no room.

Neighbour: `_send_queue.pyx` keeps them. EPOLLOUT is waited for only once there was no room.
"""

from cpython.buffer cimport PyBUF_SIMPLE, Py_buffer, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport uint32_t

from cmux_proxy.net._epoll cimport EPOLL_CTL_MOD, EPOLLOUT, READING_EVENTS
from cmux_proxy.net._errors cimport system_error
from cmux_proxy.net._native_stream cimport (
    CLOSING, END_WANTED, LOST, OWNER_PAUSED, WATCHES_ROOM, NativeStream,
)
from cmux_proxy.net._send_queue cimport FAILED, SENT, SendQueue, SendResult
from cmux_proxy.net._sockets cimport AF_UNIX, MSG_NOSIGNAL, SHUT_WR, send, send_two, shutdown


cdef int send_bytes(NativeStream stream, object data, const char* start, Py_ssize_t size) except -1:
    """Send bytes at `start`, which are those of `data` unless that is None."""
    cdef ssize_t count = 0
    if stream.state & END_WANTED:
        raise RuntimeError("write after write_eof")
    if stream.state & LOST or not size:
        return 0
    if stream.queue is None:
        count = send(stream.fd, start, size, MSG_NOSIGNAL)
        if count == size:
            return 0
        if count < 0:
            if errno != EAGAIN and errno != EINTR:
                return stream.drop(system_error(errno))
            count = 0
    if data is None:
        return _keep(stream, PyBytes_FromStringAndSize(start + count, size - count), 0)
    return _keep(stream, data, count)


cdef int send_parts(NativeStream stream, object first, object second) except -1:
    cdef Py_buffer one
    cdef Py_buffer two
    cdef ssize_t count
    cdef int error
    PyObject_GetBuffer(first, &one, PyBUF_SIMPLE)
    try:
        PyObject_GetBuffer(second, &two, PyBUF_SIMPLE)
    except BaseException:
        PyBuffer_Release(&one)
        raise
    count = send_two(stream.fd, one.buf, one.len, two.buf, two.len)
    # Releasing a buffer may set errno.
    error = errno
    PyBuffer_Release(&one)
    PyBuffer_Release(&two)
    if count < 0 and error != EAGAIN and error != EINTR:
        return stream.drop(system_error(error))
    count = max(count, 0)
    return _keep(stream, b"".join((first, second)), count) if count < one.len + two.len else 0


cdef int _keep(NativeStream stream, bytes data, Py_ssize_t sent) except -1:
    """Keep bytes until there is room for them, without the first `sent`."""
    if stream.queue is None:
        stream.queue = SendQueue.__new__(SendQueue)
        if not stream.state & WATCHES_ROOM:
            stream.state |= WATCHES_ROOM
            stream.reactor.watch(EPOLL_CTL_MOD, stream.fd, READING_EVENTS | EPOLLOUT)
    stream.queue.add(data, sent)
    if stream.queue.unsent > stream.high and not stream.state & OWNER_PAUSED:
        stream.state |= OWNER_PAUSED
        try:
            stream.owner.pause_writing()
        except Exception as error:
            # The caller may be the owner of another stream.
            stream.on_error(error)
    return 0


cdef int flush(NativeStream stream) except -1:
    """There is room: send what waits for it."""
    cdef SendResult result = stream.queue.flush(stream.fd)
    if result == SENT:
        return _on_flushed(stream)
    return stream.drop(system_error(errno)) if result == FAILED else 0


cdef int _on_flushed(NativeStream stream) except -1:
    """Everything has been sent: go on, or do what has waited for that."""
    # With an empty queue, `write_eof` sends an end that `resume_writing` asks for.
    cdef bint is_end_due = stream.state & END_WANTED != 0
    stream.queue = None
    if stream.family == AF_UNIX:
        # Each byte that the peer reads would be an event.
        stream.state &= ~<uint32_t>WATCHES_ROOM
        stream.reactor.watch(EPOLL_CTL_MOD, stream.fd, READING_EVENTS)
    if stream.state & OWNER_PAUSED:
        stream.state &= ~<uint32_t>OWNER_PAUSED
        stream.owner.resume_writing()
    if stream.queue is None:
        if stream.state & CLOSING:
            return stream.lose(None)
        if is_end_due and shutdown(stream.fd, SHUT_WR) < 0:
            return stream.drop(system_error(errno))
    return 0
