from libc.stdint cimport uint32_t

from cmux_proxy.net._native_stream cimport NativeStream


cdef int read(NativeStream stream, uint32_t events) except -1
