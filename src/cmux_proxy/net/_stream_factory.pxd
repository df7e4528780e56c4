from cmux_proxy.net._native_stream cimport NativeStream
from cmux_proxy.net._reactor cimport Reactor
from cmux_proxy.net._sockets cimport peer_address


cdef NativeStream open_stream(
    Reactor reactor, int fd, int family, object owner, const peer_address* peer
)
