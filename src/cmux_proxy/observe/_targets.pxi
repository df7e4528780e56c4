# Request targets, as lines of the access log have them. Part of _fast_lines.pyx.

cdef Py_ssize_t MAX_METHOD = records.MAX_METHOD
cdef Py_ssize_t MAX_PATH = records.MAX_PATH


cdef inline Py_ssize_t target_length(bytes request_line, Py_ssize_t start) noexcept:
    """Return the length of the target, which ends before the last space of the first line."""
    cdef const char *text = PyBytes_AS_STRING(request_line)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(request_line)
    cdef const char *end = <const char *>memchr(text, 10, size)
    cdef Py_ssize_t at = size if end == NULL else end - text
    if at - start >= 10 and memcmp(text + at - 10, b" HTTP/1.", 8) == 0:
        # The two bytes behind that are a digit and a carriage return, in all but odd lines.
        if text[at - 2] != 32 and text[at - 1] != 32:
            return at - 10 - start
    while at > start and text[at - 1] != 32:
        at -= 1
    return at - 1 - start if at > start else 0


cdef inline Py_ssize_t length_without_query(const char *target, Py_ssize_t length) noexcept:
    cdef const char *query = <const char *>memchr(target, 63, length)
    return length if query == NULL else query - target


cdef inline bint must_change(const char *target, Py_ssize_t length) noexcept:
    """Return whether `path_of` cuts more than a query off this target."""
    if length and target[0] != 47 and memchr(target, 64, length) != NULL:
        return True
    return length > MAX_PATH // MAX_ESCAPE and not fits(target, length_without_query(target, length))


cdef bint fits(const char *path, Py_ssize_t length) noexcept:
    """Return whether a path surely needs no cut; one with bytes to escape may need one."""
    if length <= MAX_PATH // MAX_ESCAPE:
        return True
    return length <= MAX_PATH and is_plain(<const unsigned char *>path, length, JSON)
