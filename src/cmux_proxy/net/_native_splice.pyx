# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, binding=False
"""Large transfers between native streams: the kernel moves the bytes, and no Python reads them.

During a transfer, `_stream_reading.pyx` calls `splice_bytes` where it would read. Bytes go from
socket to socket through a pipe (Linux's `splice`), which is empty between two calls. What is left
to the owner of the source, by an ordinary read: ends, the last byte of a body, and everything that
comes once the transfer has ended.
Neighbour: `splice.py` says when a transfer starts, and has the same for other streams. Knows
nothing of messages.
"""

from libc.errno cimport EACCES, EAGAIN, EINTR, EINVAL, ENOSYS, EOPNOTSUPP, EPERM, errno
from libc.stdint cimport uint32_t
from posix.unistd cimport close, read

from cmux_proxy.net._epoll cimport FOLLOWED_EVENTS
from cmux_proxy.net._errors cimport system_error
from cmux_proxy.net._native_stream cimport DIALED, END_WANTED, LOST, SPLICED, NativeStream
from cmux_proxy.net._reactor cimport BUFFER_SIZE, FROM_CLIENT, FROM_UPSTREAM
from cmux_proxy.net._stream_sending cimport send_bytes

cdef extern from * nogil:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <fcntl.h>
    #include <sys/ioctl.h>
    #include <sys/socket.h>
    #include <unistd.h>

    /* Move bytes between a socket and a pipe, without waiting for either. */
    static ssize_t splice_once(int from, int to, size_t size)
    {
        return splice(from, NULL, to, NULL, size, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
    }

    static int open_pipe(int *ends, int size)
    {
        if (pipe2(ends, O_NONBLOCK | O_CLOEXEC) < 0)
            return -1;
        /* 16 slots, the default, hold too few packets for it to be worthwhile; but they work. */
        fcntl(ends[1], F_SETPIPE_SZ, size);
        return 0;
    }

    /* SIOCOUTQNSD of <linux/sockios.h>: whether the peer has no room for what the kernel holds. */
    static int is_behind(int fd)
    {
        int unsent = 0;
        return ioctl(fd, 0x894B, &unsent) == 0 && unsent > 0;
    }

    /* How many bytes the kernel would take now, or 0. SO_MEMINFO of <asm-generic/socket.h>, and of
       the numbers of <linux/sock_diag.h> how much is on its way, may be, and waits. */
    static long send_room(int fd)
    {
        unsigned int memory[9] = {0};
        socklen_t size = sizeof memory;
        if (getsockopt(fd, SOL_SOCKET, 55, memory, &size) < 0)
            return 0;
        return (long)memory[3] - (memory[2] > memory[5] ? memory[2] : memory[5]);
    }
    """
    ssize_t splice_once(int source, int sink, size_t size)
    int open_pipe(int* ends, int size)
    bint is_behind(int fd)
    long send_room(int fd)

cdef enum:
    # As much as one read may bring, so that no more than that is ever held.
    MAX_MOVE = BUFFER_SIZE
    # Where less comes at a time, reading and writing cost as little (`splice.py`).
    MIN_MOVE = 32 * 1024


cdef class NativePipe:
    """The pipe of one proxy: all its connections share it, because it is empty between calls.

    `LimitedReads` read into `limited_buffer`, of `limited_size` bytes.
    """

    cdef public bint is_able
    cdef public object limited_buffer
    cdef int ends[2]

    def __cinit__(self):
        self.ends[0] = self.ends[1] = -1

    def __init__(self, bint is_wanted, Py_ssize_t limited_size):
        self.is_able = is_wanted
        self.limited_buffer = memoryview(bytearray(limited_size))

    def __dealloc__(self):
        self.close_ends()

    def start(self, source, sink, body, count_moved):
        """Move what follows from source to sink; does nothing unless both are native streams."""
        cdef NativeTransfer transfer
        if not isinstance(source, NativeStream) or not isinstance(sink, NativeStream):
            return
        transfer = NativeTransfer.__new__(NativeTransfer)
        transfer.pipe = self
        transfer.sink = sink
        transfer.body = body
        transfer.count_moved = count_moved
        transfer.owner = source.get_protocol()
        source.set_protocol(transfer)
        (<NativeStream>source).state |= SPLICED

    def is_open(self):
        """Return whether the pipe exists: from the first transfer to `close`."""
        return self.ends[0] >= 0

    def close(self):
        """Close the pipe; the next large transfer opens another."""
        self.close_ends()

    cdef void close_ends(self) noexcept:
        cdef int end
        for end in range(2):
            if self.ends[end] >= 0:
                close(self.ends[end])
                self.ends[end] = -1

    cdef bint open(self) noexcept:
        """Return whether there is a pipe; not where there is no descriptor for it."""
        return self.ends[0] >= 0 or (self.is_able and open_pipe(self.ends, MAX_MOVE) == 0)

    cdef void disable(self) noexcept:
        """The kernel, or a sandbox that stands in for it, cannot move bytes: do not try again."""
        self.is_able = False
        self.close_ends()

    cdef Py_ssize_t push(self, int sink, Py_ssize_t count, char* untaken) except -1:
        """Empty the pipe into the sink; return how many of the `count` bytes it does not take.

        Those are in `untaken`. Of a broken connection, the write of them shows the error.
        """
        cdef Py_ssize_t left = count - max(splice_once(self.ends[0], sink, count), 0)
        cdef ssize_t found = left
        if left:
            found = read(self.ends[0], untaken, left)
        if found != left:
            # Bytes that are left in the pipe must never reach another connection.
            self.close_ends()
            raise system_error(errno)
        return left


cdef class NativeTransfer:
    """What a source reports to during a large transfer, in front of its owner.

    Nothing is read meanwhile, so that only the other events can come here.
    """

    cdef NativePipe pipe
    cdef NativeStream sink
    cdef object owner
    # None where everything that comes is for the sink.
    cdef object body
    cdef object count_moved

    def connection_lost(self, error):
        """Pass the loss on."""
        self.owner.connection_lost(error)

    def pause_writing(self):
        """Pass back-pressure on."""
        self.owner.pause_writing()

    def resume_writing(self):
        """Pass the end of back-pressure on."""
        self.owner.resume_writing()

    cdef Py_ssize_t room(self) except -1:
        """Return how many bytes may be moved now; 0 where the owner is to read."""
        cdef NativeStream sink = self.sink
        cdef Py_ssize_t size = MAX_MOVE
        # Nothing may overtake what waits; while something does, a stream that closes is not lost.
        if sink.queue is not None or sink.state & (LOST | END_WANTED):
            return 0
        if self.body is not None:
            # The owner reads the last byte.
            size = min(size, <Py_ssize_t>self.body.remaining - 1)
        if size < MIN_MOVE or not self.pipe.open():
            return 0
        # What a full sink does not take stays in memory for as long as its peer does not read.
        return min(size, max(MIN_MOVE, send_room(sink.fd))) if is_behind(sink.fd) else size

    cdef SpliceResult pass_on(self, NativeStream source, Py_ssize_t count) except *:
        """Send what has been moved into the pipe."""
        cdef char* buffer = source.reactor.buffer
        cdef Py_ssize_t left = self.pipe.push(self.sink.fd, count, buffer)
        source.reactor.arrival = FROM_UPSTREAM if source.state & DIALED else FROM_CLIENT
        if self.body is not None:
            self.body.remaining -= count
        self.count_moved(count)
        if left:
            send_bytes(self.sink, None, buffer, left)
        if count < MIN_MOVE:
            self.end(source)
        return MOVED

    cdef SpliceResult end(self, NativeStream source) except *:
        """Let the owner read again, unless the source has another one by now."""
        if source.owner is self:
            source.set_protocol(self.owner)
        return NOT_MOVED


cdef SpliceResult splice_bytes(NativeStream source, uint32_t events) except *:
    """Move bytes to the sink of the transfer of `source`, once.

    Where nothing is there although `events` say that something follows the bytes, the owner reads.
    """
    cdef NativeTransfer transfer = <NativeTransfer>source.owner
    cdef Py_ssize_t room = transfer.room()
    cdef ssize_t count
    if not room:
        return transfer.end(source)
    count = splice_once(source.fd, transfer.pipe.ends[1], room)
    while count < 0 and errno == EINTR:
        count = splice_once(source.fd, transfer.pipe.ends[1], room)
    if count > 0:
        return transfer.pass_on(source, count)
    if count == 0:
        return transfer.end(source)
    if errno == EAGAIN:
        return transfer.end(source) if events & FOLLOWED_EVENTS else DRAINED
    if errno in (EACCES, EINVAL, ENOSYS, EOPNOTSUPP, EPERM):
        transfer.pipe.disable()
        return transfer.end(source)
    # The kernel has forgotten the error by now: no read would report it.
    source.drop(system_error(errno))
    return DRAINED
