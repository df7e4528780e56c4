# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, binding=False
"""Makes streams of descriptors that are connected already. Neighbour: `_native_acceptor.pyx`."""

from posix.unistd cimport close

from cmux_proxy.net._native_stream cimport DIALED, NativeStream
from cmux_proxy.net._reactor cimport Reactor
from cmux_proxy.net._sockets cimport peer_address


cdef NativeStream open_stream(
    Reactor reactor, int fd, int family, object owner, const peer_address* peer
):
    """Make a stream of a non-blocking descriptor, which it owns, and report it to `owner`.

    What fails from then on is the loss of the connection, and no exception. `peer` is NULL where
    the connection was made from here, to an upstream.
    """
    cdef NativeStream stream = NativeStream.__new__(NativeStream)
    stream.reactor = reactor
    stream.fd = fd
    stream.family = family
    if peer != NULL:
        stream.peer = peer[0]
    else:
        stream.state |= DIALED
    stream.set_protocol(owner)
    try:
        reactor.reserve(stream)
    except BaseException:
        close(fd)
        raise
    try:
        stream.start()
    except Exception as error:
        stream.on_error(error)
    return stream


def adopt(Reactor reactor, sock, owner):
    """Make a stream of a connected socket, which is detached; call `owner` before it returns."""
    sock.setblocking(False)
    family = sock.family
    open_stream(reactor, sock.detach(), family, owner, NULL)
