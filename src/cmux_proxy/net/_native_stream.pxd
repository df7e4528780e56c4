from libc.stdint cimport uint32_t

from cmux_proxy.net._event_source cimport Source
from cmux_proxy.net._reactor cimport Reactor
from cmux_proxy.net._send_queue cimport SendQueue
from cmux_proxy.net._sockets cimport peer_address


cdef enum:
    CLOSING = 1  # nothing is read any more; what is pending is sent
    LOST = 2  # `connection_lost` is due or done; nothing is sent
    PAUSED = 4  # by the owner
    ENDED = 8  # the peer has sent its end
    END_WANTED = 16  # our half ends once everything has been sent
    OWNER_PAUSED = 32  # `pause_writing` was called, `resume_writing` is due
    WATCHES_ROOM = 64  # EPOLLOUT is waited for
    INTO_BUFFER = 128  # the owner is a BufferedProtocol
    UNREAD = 256  # there may be bytes that no event announces
    IN_TURN = 512  # `on_turn` will be called
    DIALED = 1024  # the connection was made from here, so that its peer is an upstream
    SPLICED = 2048  # the owner is a NativeTransfer
    NOT_READ = CLOSING | LOST | PAUSED | ENDED


cdef class NativeStream(Source):
    cdef Reactor reactor
    # What it reports to; None once it is lost.
    cdef object owner
    # Bytes that wait to be sent; None for none.
    cdef SendQueue queue
    # `pause_writing` is called when the queue has more bytes than this.
    cdef Py_ssize_t high
    cdef Py_ssize_t read_size
    cdef object error
    # Made only where Python code asks for it.
    cdef object sock
    cdef int family
    cdef uint32_t state
    # Events that came while nothing was read.
    cdef uint32_t missed
    cdef peer_address peer

    cdef int start(self) except -1
    cdef int lose(self, object error) except -1
    cdef int drop(self, object error) except -1
