# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, binding=False
"""A connection on a raw descriptor, with the methods of asyncio's transports (`stream.py`).

Compiled builds on Linux only. It is watched with edge-triggered events, once for its whole life, so
that to pause reading is a flag and no system call. What an edge has announced must therefore be
read, or remembered: `missed` and UNREAD do that.
An owner's `pause_writing` is called within `write`, its `connection_lost` never within a call of
ours: always at the end of a batch (`_reactor.pyx`).
Here is what its owner calls, and its end; `_stream_reading.pyx` and `_stream_sending.pyx` have the rest.
"""

import asyncio
import socket

from cpython.buffer cimport PyBUF_SIMPLE, Py_buffer, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE
from libc.errno cimport errno
from libc.stdint cimport uint32_t
from posix.unistd cimport close

from cmux_proxy.net._epoll cimport (
    EPOLL_CTL_ADD, EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, FOLLOWED_EVENTS, READING_EVENTS,
)
from cmux_proxy.net._errors cimport report_error, system_error
from cmux_proxy.net._event_source cimport Source
from cmux_proxy.net._reactor cimport BUFFER_SIZE
from cmux_proxy.net._sockets cimport SHUT_WR, peer_name, shutdown
from cmux_proxy.net._stream_reading cimport read
from cmux_proxy.net._stream_sending cimport flush, send_bytes, send_parts

cdef enum:
    DEFAULT_HIGH = 64 * 1024

_BufferedProtocol = asyncio.BufferedProtocol
# The descriptor is non-blocking; with this flag its socket object knows that without a call.
_NON_BLOCKING = socket.SOCK_STREAM | socket.SOCK_NONBLOCK


cdef class NativeStream(Source):
    """One connection."""

    cdef int start(self) except -1:
        """Report to the owner, and then read; the reactor has reserved its place."""
        self.high = DEFAULT_HIGH
        self.read_size = BUFFER_SIZE
        try:
            self.reactor.watch(EPOLL_CTL_ADD, self.fd, READING_EVENTS)
        except OSError as error:
            # The owner may wait for the connection, so its loss is reported after connection_made.
            self.drop(error)
        self.owner.connection_made(self)
        return 0

    # What its owner calls

    @property
    def max_size(self):
        """How many bytes are read at a time; never more than the reactor has room for."""
        return self.read_size

    @max_size.setter
    def max_size(self, Py_ssize_t size):
        self.read_size = max(1, min(size, BUFFER_SIZE))

    def write(self, data):
        """Send bytes, or keep those that the peer does not take yet."""
        cdef Py_buffer view
        if PyBytes_CheckExact(data):
            send_bytes(self, data, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
            return
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            send_bytes(self, None, <const char*>view.buf, view.len)
        finally:
            PyBuffer_Release(&view)

    def writelines(self, data):
        """Send several pieces of bytes in this order; two of them without a copy."""
        if len(data) == 2 and self.queue is None and not self.state & (LOST | END_WANTED):
            send_parts(self, data[0], data[1])
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
                self.lose(None)

    def abort(self):
        """Close at once, and discard what waits to be sent."""
        self.drop(None)

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
        self.state &= ~<uint32_t>(INTO_BUFFER | SPLICED)
        if isinstance(owner, _BufferedProtocol):
            self.state |= INTO_BUFFER

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

    # Events

    cdef int on_events(self, uint32_t events) except -1:
        """Read and send what the events allow; first read, because a failed write ends both."""
        if events & (EPOLLIN | FOLLOWED_EVENTS):
            read(self, events)
        if self.queue is not None and events & (EPOLLOUT | EPOLLERR | EPOLLHUP):
            flush(self)
        return 0

    cdef int on_turn(self) except -1:
        """Read what was left over."""
        cdef uint32_t events = self.missed
        if not self.state & IN_TURN:
            # The connection that had this descriptor before was in the list.
            return 0
        self.state &= ~<uint32_t>(UNREAD | IN_TURN)
        self.missed = 0
        return read(self, events)

    # The end

    cdef int drop(self, object error) except -1:
        """Close at once; what waits to be sent is lost."""
        self.queue = None
        self.state |= CLOSING
        return self.lose(error)

    cdef int lose(self, object error) except -1:
        """Report the loss and close the descriptor at the end of the batch; idempotent."""
        if not self.state & LOST:
            self.state |= LOST
            self.error = error
            self.reactor.close_later(self)
        return 0

    cdef int on_error(self, object error) except -1:
        """A callback of the owner, or the kernel, has failed: drop the connection."""
        self.drop(error)
        if not isinstance(error, OSError):
            report_error(self.reactor.loop, "an error in a callback", error, self)
        return 0

    cdef int abandon(self) except -1:
        """The reactor closes."""
        return self.drop(None)

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
