"""Errors of the system, and of callbacks. Knows nothing of descriptors."""

from libc.string cimport strerror


cdef inline object system_error(int number):
    """Return the error with this number as an exception."""
    return OSError(number, strerror(number).decode())


cdef inline int report_error(object loop, str message, object error, object source) except -1:
    """Hand an error to the exception handler of the event loop."""
    try:
        loop.call_exception_handler({"message": message, "exception": error, "transport": source})
    except MemoryError:
        # Not even for the report.
        pass
    return 0
