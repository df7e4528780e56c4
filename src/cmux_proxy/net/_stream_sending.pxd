from cmux_proxy.net._native_stream cimport NativeStream


cdef int send_bytes(
    NativeStream stream, object data, const char* start, Py_ssize_t size
) except -1
cdef int send_parts(NativeStream stream, object first, object second) except -1
cdef int flush(NativeStream stream) except -1
