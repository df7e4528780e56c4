from libc.stdint cimport uint32_t

from cmux_proxy.net._native_stream cimport NativeStream


cdef enum SpliceResult:
    MOVED  # there may be more
    DRAINED  # nothing was there, or the connection is lost
    NOT_MOVED  # the transfer has ended, and the owner reads


cdef SpliceResult splice_bytes(NativeStream source, uint32_t events) except *
