# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, binding=False
"""Accepts connections from one listening socket, as streams of the reactor.

Compiled builds on Linux only. The socket is watched with level-triggered events, so that what is
left in the backlog is announced again. Neighbours: `acceptor.py` has the other ways to accept,
`native_backend.py` starts an acceptor again after a failure.
"""

from libc.errno cimport EAGAIN, ECONNABORTED, EINTR, EPROTO, errno
from libc.stdint cimport uint32_t
from posix.unistd cimport close

from cmux_proxy.net._epoll cimport EPOLLIN
from cmux_proxy.net._errors cimport report_error
from cmux_proxy.net._event_source cimport Source
from cmux_proxy.net._reactor cimport Reactor
from cmux_proxy.net._sockets cimport accept_peer, peer_address
from cmux_proxy.net._stream_factory cimport open_stream

cdef enum:
    # How many are accepted before the connections that exist have their turn.
    MAX_AT_ONCE = 64


cdef class NativeAcceptor(Source):
    """Accepts between start and stop; all methods are idempotent.

    `has_room(0)` is asked before each connection. Once there is no room, or no descriptor or memory
    is left, the acceptor stops itself and calls `on_stopped`.
    """

    def __init__(self, Reactor reactor, sock, factory, has_room, on_stopped):
        self._reactor = reactor
        self._sock = sock
        self._factory = factory
        self._has_room = has_room
        self._on_stopped = on_stopped
        self._family = sock.family
        self.fd = sock.fileno()
        sock.setblocking(False)

    def start(self):
        """Accept from now on; raise OSError where the system does not allow it."""
        if not self._is_on:
            self._reactor.add(self, EPOLLIN)
            self._is_on = True

    def stop(self):
        """Leave new connections in the backlog."""
        if self._is_on:
            self._is_on = False
            self._reactor.unwatch(self.fd)
            self._reactor.forget(self.fd)

    def finish(self):
        """Stop, but accept the connections that are in the backlog now, room or not."""
        self.stop()
        self._accept(-1, True)

    cdef int on_events(self, uint32_t events) except -1:
        """Accept what has come."""
        return self._accept(MAX_AT_ONCE, False)

    cdef int _accept(self, int max_count, bint is_last) except -1:
        cdef peer_address peer
        cdef int fd
        while max_count and (is_last or self._is_on):
            if not is_last and not self._has_room(0):
                return self._give_up()
            fd = accept_peer(self.fd, &peer)
            if fd >= 0:
                max_count -= 1
                open_stream(self._reactor, fd, self._family, self._make_owner(fd), &peer)
            elif errno == EAGAIN:
                return 0
            elif errno != EINTR and errno != ECONNABORTED and errno != EPROTO:
                return self._give_up()
        return 0

    cdef object _make_owner(self, int fd):
        try:
            return self._factory()
        except BaseException:
            close(fd)
            raise

    cdef int _give_up(self) except -1:
        """Stop: as long as nothing is freed, the socket would be announced again and again."""
        if self._is_on:
            self.stop()
            self._on_stopped()
        return 0

    cdef int on_error(self, object error) except -1:
        """A callback has failed."""
        return report_error(self._reactor.loop, "accepting a connection failed", error, None)

    cdef int abandon(self) except -1:
        """The reactor closes."""
        self.stop()
        return 0
