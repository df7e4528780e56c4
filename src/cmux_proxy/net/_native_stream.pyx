# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, binding=False
"""A connection on a raw descriptor, with the methods of asyncio's transports (`stream.py`).

Compiled builds on Linux only. It is watched with edge-triggered events, once for its whole life, so
that to pause reading is a flag and no system call. What an edge has announced must therefore be
read, or remembered: `missed` and UNREAD do that.
An owner's `pause_writing` is called within `write`, its `connection_lost` never within a call of
ours: always at the end of a batch (`_reactor.pyx`).
"""

import asyncio
import socket

from cpython.buffer cimport (
    PyBUF_SIMPLE, PyBUF_WRITABLE, Py_buffer, PyBuffer_Release, PyObject_GetBuffer,
)
from cpython.bytes cimport (
    PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE,
)
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport uint32_t
from posix.unistd cimport close

from cmux_proxy.net._epoll cimport (
    EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLLERR, EPOLLET, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLPRI,
    EPOLLRDHUP,
)
from cmux_proxy.net._reactor cimport BUFFER_SIZE, Source, system_error
from cmux_proxy.net._send_queue cimport FAILED, SENT, SendQueue, SendResult
from cmux_proxy.net._sockets cimport (
    AF_UNIX, MSG_NOSIGNAL, SHUT_WR, peer_name, recv, send, send_two, shutdown,
)

cdef enum:
    DEFAULT_HIGH = 64 * 1024

cdef uint32_t READING = EPOLLIN | EPOLLRDHUP | EPOLLPRI | EPOLLET
# With one of these, there is something behind the bytes of a read that was not full.
cdef uint32_t BEHIND = EPOLLRDHUP | EPOLLPRI | EPOLLHUP | EPOLLERR

_BufferedProtocol = asyncio.BufferedProtocol
# A socket object has to be told what the descriptor is already.
_NON_BLOCKING = socket.SOCK_STREAM | socket.SOCK_NONBLOCK


cdef class NativeStream(Source):
    """One connection."""

    cdef int start(self) except -1:
        """Report to the owner, and then read; the reactor has reserved its place."""
        self.high = DEFAULT_HIGH
        self._read_size = BUFFER_SIZE
        try:
            self.reactor.watch(EPOLL_CTL_ADD, self.fd, READING)
        except OSError as error:
            # Its owner may wait for the connection, and is to learn of its loss.
            self._drop(error)
        self.owner.connection_made(self)
        return 0

    # What its owner calls

    @property
    def max_size(self):
        """How many bytes are read at a time; never more than the reactor has room for."""
        return self._read_size

    @max_size.setter
    def max_size(self, Py_ssize_t size):
        self._read_size = max(1, min(size, BUFFER_SIZE))

    def write(self, data):
        """Send bytes, or keep those that the peer does not take yet."""
        cdef Py_buffer view
        if PyBytes_CheckExact(data):
            self._send(data, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
            return
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            self._send(None, <const char*>view.buf, view.len)
        finally:
            PyBuffer_Release(&view)

    def writelines(self, data):
        """Send several pieces of bytes in this order; two of them without a copy."""
        if len(data) == 2 and self.queue is None and not self.state & (LOST | END_WANTED):
            self._send_two(data[0], data[1])
        else:
            self.write(b"".join(data))

    def can_write_eof(self):
        """Return True: there is no TLS here."""
        return True

    def write_eof(self):
        """End our half once everything has been sent; raise OSError where that fails at once."""
        if self.state & (CLOSING | END_WANTED):
            return
        self.state |= END_WANTED
        if self.queue is None and shutdown(self.fd, SHUT_WR) < 0:
            raise system_error(errno)

    def close(self):
        """Close once everything has been sent."""
        if not self.state & CLOSING:
            self.state |= CLOSING
            if self.queue is None:
                self._lose(None)

    def abort(self):
        """Close at once, and discard what waits to be sent."""
        self._drop(None)

    def is_closing(self):
        """Return whether it is closed, or closes."""
        return self.state & CLOSING != 0

    def pause_reading(self):
        """Leave what arrives with the kernel."""
        self.state |= PAUSED

    def resume_reading(self):
        """Read again."""
        if self.state & PAUSED:
            self.state &= ~<uint32_t>PAUSED
            if self.state & UNREAD and not self.state & (NOT_READ | IN_TURN):
                self.state |= IN_TURN
                self.reactor.read_again(self)

    def set_protocol(self, owner):
        """Report to another owner from now on."""
        self.owner = owner
        if isinstance(owner, _BufferedProtocol):
            self.state |= INTO_BUFFER
        else:
            self.state &= ~<uint32_t>INTO_BUFFER

    def get_protocol(self):
        """Return the owner; None once the connection is lost."""
        return self.owner

    def get_write_buffer_size(self):
        """Return how many bytes wait to be sent, without those that the kernel has."""
        return 0 if self.queue is None else self.queue.unsent

    def set_write_buffer_limits(self, high=None, low=None):
        """Set how many bytes may wait before the owner pauses; it resumes when none waits."""
        self.high = DEFAULT_HIGH if high is None else high

    def get_extra_info(self, name, default=None):
        """Return the "socket" or the "peername", as asyncio's transports do."""
        if name == "socket":
            if self.sock is None and self.fd >= 0:
                self.sock = socket.socket(self.family, _NON_BLOCKING, 0, self.fd)
            return default if self.sock is None else self.sock
        if name == "peername":
            # That of accept4: the kernel does not know it any more once the peer has reset.
            peer = peer_name(&self.peer)
            return default if peer is None else peer
        return default

    # Sending

    cdef int _send(self, object data, const char* start, Py_ssize_t size) except -1:
        """Send bytes at `start`, which are those of `data` unless that is None."""
        cdef ssize_t count = 0
        if self.state & END_WANTED:
            raise RuntimeError("write after write_eof")
        if self.state & LOST or not size:
            return 0
        if self.queue is None:
            count = send(self.fd, start, size, MSG_NOSIGNAL)
            if count == size:
                return 0
            if count < 0:
                if errno != EAGAIN and errno != EINTR:
                    return self._drop(system_error(errno))
                count = 0
        if data is None:
            return self._keep(PyBytes_FromStringAndSize(start + count, size - count), 0)
        return self._keep(data, count)

    cdef int _send_two(self, object first, object second) except -1:
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
        count = send_two(self.fd, one.buf, one.len, two.buf, two.len)
        # Releasing a buffer may set errno.
        error = errno
        PyBuffer_Release(&one)
        PyBuffer_Release(&two)
        if count < 0 and error != EAGAIN and error != EINTR:
            return self._drop(system_error(error))
        count = max(count, 0)
        return self._keep(b"".join((first, second)), count) if count < one.len + two.len else 0

    cdef int _keep(self, bytes data, Py_ssize_t sent) except -1:
        """Keep bytes until there is room for them, without the first `sent`."""
        if self.queue is None:
            self.queue = SendQueue.__new__(SendQueue)
            if not self.state & WATCHES_ROOM:
                self.state |= WATCHES_ROOM
                self.reactor.watch(EPOLL_CTL_MOD, self.fd, READING | EPOLLOUT)
        self.queue.add(data, sent)
        if self.queue.unsent > self.high and not self.state & OWNER_PAUSED:
            self.state |= OWNER_PAUSED
            try:
                self.owner.pause_writing()
            except Exception as error:
                # The caller may be the owner of another stream.
                self.on_error(error)
        return 0

    cdef int _flush(self) except -1:
        """There is room: send what waits for it."""
        cdef SendResult result = self.queue.flush(self.fd)
        if result == SENT:
            return self._on_flushed()
        return self._drop(system_error(errno)) if result == FAILED else 0

    cdef int _on_flushed(self) except -1:
        """Everything has been sent: go on, or do what has waited for that."""
        # With an empty queue, `write_eof` sends an end that `resume_writing` asks for.
        cdef bint is_end_due = self.state & END_WANTED != 0
        self.queue = None
        if self.family == AF_UNIX:
            # Each byte that the peer reads would be an event.
            self.state &= ~<uint32_t>WATCHES_ROOM
            self.reactor.watch(EPOLL_CTL_MOD, self.fd, READING)
        if self.state & OWNER_PAUSED:
            self.state &= ~<uint32_t>OWNER_PAUSED
            self.owner.resume_writing()
        if self.queue is None:
            if self.state & CLOSING:
                return self._lose(None)
            if is_end_due and shutdown(self.fd, SHUT_WR) < 0:
                return self._drop(system_error(errno))
        return 0

    # Reading

    cdef int on_events(self, uint32_t events) except -1:
        """Read and send what the events allow; first read, because a failed write ends both."""
        if events & (EPOLLIN | BEHIND):
            self._read(events)
        if self.queue is not None and events & (EPOLLOUT | EPOLLERR | EPOLLHUP):
            self._flush()
        return 0

    cdef int on_turn(self) except -1:
        """Read what was left over."""
        cdef uint32_t events = self.missed
        self.state &= ~<uint32_t>(UNREAD | IN_TURN)
        self.missed = 0
        return self._read(events)

    cdef int _read(self, uint32_t events) except -1:
        """Read once, or to the end where there is more than bytes; a full read is continued later.

        A read that is not full has emptied the socket, unless it ended at an urgent byte, or the
        peer's end or an error follows: those come with `events`.
        """
        cdef Py_ssize_t size
        cdef ssize_t count
        cdef int error = 0
        while True:
            # The owner, and what it wants, may change with each read.
            if self.state & NOT_READ:
                self.state |= UNREAD
                self.missed |= events & BEHIND
                return 0
            size = self._read_size
            if self.state & INTO_BUFFER:
                count = self._read_into_buffer(&size, &error)
            else:
                count = self._read_bytes(size, &error)
            if count == size:
                self.missed |= events & BEHIND
                return self._read_later()
            if count > 0:
                if not events & BEHIND:
                    return 0
            elif count == 0:
                return self._end()
            elif error == EAGAIN:
                return 0
            elif error != EINTR:
                return self._drop(system_error(error))

    cdef int _read_later(self) except -1:
        """Leave the rest for the next turn: others have their turn first."""
        self.state |= UNREAD
        if not self.state & (NOT_READ | IN_TURN):
            self.state |= IN_TURN
            self.reactor.read_again(self)
        return 0

    cdef ssize_t _read_bytes(self, Py_ssize_t size, int* error) except -2:
        """Read and hand the bytes over; return how many, 0 at the end, -1 for `error`."""
        cdef char* buffer = self.reactor.buffer
        cdef ssize_t count = recv(self.fd, buffer, size, 0)
        if count > 0:
            self.owner.data_received(PyBytes_FromStringAndSize(buffer, count))
        elif count < 0:
            error[0] = errno
        return count

    cdef ssize_t _read_into_buffer(self, Py_ssize_t* size, int* error) except -2:
        """The same for an owner with a buffer of its own, of `size` bytes."""
        cdef Py_buffer view
        cdef ssize_t count
        owner = self.owner
        PyObject_GetBuffer(owner.get_buffer(-1), &view, PyBUF_WRITABLE)
        size[0] = view.len
        if not view.len:
            # It would look like the end, or like a full read.
            PyBuffer_Release(&view)
            raise RuntimeError("get_buffer() returned an empty buffer")
        count = recv(self.fd, view.buf, view.len, 0)
        # Releasing the buffer may set errno.
        error[0] = errno
        PyBuffer_Release(&view)
        if count > 0:
            owner.buffer_updated(count)
        return count

    cdef int _end(self) except -1:
        """The peer has sent its end; nothing is read from now on."""
        self.state |= ENDED
        if not self.owner.eof_received():
            self.close()
        return 0

    # The end

    cdef int _drop(self, object error) except -1:
        """Close at once; what waits to be sent is lost."""
        self.queue = None
        self.state |= CLOSING
        return self._lose(error)

    cdef int _lose(self, object error) except -1:
        """Report the loss and close the descriptor at the end of the batch; idempotent."""
        if not self.state & LOST:
            self.state |= LOST
            self.error = error
            self.reactor.close_later(self)
        return 0

    cdef int on_error(self, object error) except -1:
        """A callback of the owner, or the kernel, has failed: drop the connection."""
        if not isinstance(error, OSError):
            self.reactor.report("an error in a callback", error, self)
        return self._drop(error)

    cdef int abandon(self) except -1:
        """The reactor closes."""
        return self._drop(None)

    cdef int on_closing(self) except -1:
        """Report the loss, and close the descriptor."""
        try:
            self.owner.connection_lost(self.error)
        finally:
            # Without the cycle of stream and owner, neither waits for the garbage collector.
            self.owner = None
            self.error = None
            self.reactor.forget(self.fd)
            if self.sock is not None:
                self.sock.detach()
            close(self.fd)
            self.fd = -1
        return 0
