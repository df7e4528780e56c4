# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=False
"""lines.py, compiled: one pass over the bytes, each looked up in a table of classes.

Nothing is read past a length that was checked: a bytes object ends in a NUL byte, which belongs to
no class, so that every loop over a class stops there at the latest.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memchr, memcmp

cdef enum:
    TCHAR = 1
    TARGET = 2
    VALUE = 4

cdef unsigned char[256] CLASSES
cdef unsigned char[256] LOWER


cdef void _fill_tables() noexcept:
    cdef int byte
    cdef bytes others = b"!#$%&'*+-.^_`|~"
    for byte in range(256):
        CLASSES[byte] = 0
        LOWER[byte] = <unsigned char>byte
        if 0x41 <= byte <= 0x5A:
            LOWER[byte] = <unsigned char>(byte + 0x20)
        if 0x30 <= byte <= 0x39 or 0x41 <= byte <= 0x5A or 0x61 <= byte <= 0x7A or byte in others:
            CLASSES[byte] |= TCHAR
        if 0x21 <= byte <= 0x7E and byte != 0x23:
            CLASSES[byte] |= TARGET
        if byte == 0x09 or 0x20 <= byte <= 0x7E or byte >= 0x80:
            CLASSES[byte] |= VALUE


_fill_tables()


def head_end(bytes buffer not None, Py_ssize_t searched):
    """As lines.head_end."""
    cdef const char* text = PyBytes_AS_STRING(buffer)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(buffer)
    cdef const char* at = text + (searched - 3 if searched > 3 else 0)
    cdef const char* last = text + size
    # From CR to CR, since each line has one: memchr is the fastest search there is.
    while last - at >= 4:
        at = <const char*>memchr(at, 0x0D, last - at - 3)
        if at == NULL:
            return 0
        if at[1] == 0x0A and at[2] == 0x0D and at[3] == 0x0A:
            return at + 4 - text
        at += 1
    return 0


def request_head(bytes buffer not None, Py_ssize_t end):
    """As lines.request_head."""
    cdef const unsigned char* text = <const unsigned char*>PyBytes_AS_STRING(buffer)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(buffer)
    cdef Py_ssize_t at = 0
    cdef Py_ssize_t space
    cdef int minor
    while CLASSES[text[at]] & TCHAR:
        at += 1
    if at == 0 or text[at] != 0x20:
        return None
    space = at
    at += 1
    while CLASSES[text[at]] & TARGET:
        at += 1
    if at == space + 1 or size - at < 11 or memcmp(text + at, b" HTTP/1.", 8) != 0:
        return None
    if text[at + 8] != 0x30 and text[at + 8] != 0x31:
        return None
    if text[at + 9] != 0x0D or text[at + 10] != 0x0A:
        return None
    minor = text[at + 8] - 0x30
    at += 11
    return (
        PyBytes_FromStringAndSize(<const char*>text, space),
        PyBytes_FromStringAndSize(<const char*>text + space + 1, at - space - 12),
        minor,
        at,
        PyBytes_FromStringAndSize(<const char*>text + at, _length(at, end, size)),
    )


def response_head(bytes buffer not None, Py_ssize_t end):
    """As lines.response_head."""
    cdef const unsigned char* text = <const unsigned char*>PyBytes_AS_STRING(buffer)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(buffer)
    cdef Py_ssize_t at = 12
    cdef int status
    if size < 14 or memcmp(text, b"HTTP/1.", 7) != 0 or text[8] != 0x20:
        return None
    if text[7] != 0x30 and text[7] != 0x31:
        return None
    if not (0x31 <= text[9] <= 0x39 and 0x30 <= text[10] <= 0x39 and 0x30 <= text[11] <= 0x39):
        return None
    status = (text[9] - 0x30) * 100 + (text[10] - 0x30) * 10 + (text[11] - 0x30)
    if text[at] == 0x20:
        while CLASSES[text[at]] & VALUE:
            at += 1
    if text[at] != 0x0D or text[at + 1] != 0x0A:
        return None
    at += 2
    return (
        status,
        text[7] - 0x30,
        at,
        PyBytes_FromStringAndSize(<const char*>text + at, _length(at, end, size)),
    )


cdef Py_ssize_t _length(Py_ssize_t start, Py_ssize_t end, Py_ssize_t size) noexcept:
    """Return how long buffer[start:end] is, for an end that may lie anywhere."""
    if end > size:
        end = size
    return end - start if end > start else 0


cdef class FieldLines:
    """As lines.FieldLines."""

    cdef list _names
    cdef list _kinds
    cdef bytes _family
    # One bit for each length that a name has: most names are told apart by that alone.
    cdef unsigned long long _lengths

    def __init__(self, dict kinds not None, bytes family not None):
        self._names = list(kinds)
        self._kinds = list(kinds.values())
        self._family = family
        self._lengths = 0
        for name in self._names:
            if len(name) > 63:
                raise ValueError("a name is too long")
            self._lengths |= 1ULL << <int>len(name)

    cdef int _kind(self, const unsigned char* name, Py_ssize_t size) except -2:
        """Return the kind of a name; 0 for a family's member, -1 for no interest."""
        cdef bytes known
        cdef const unsigned char* text
        cdef Py_ssize_t at, index
        if size < 64 and self._lengths >> size & 1:
            for index in range(len(self._names)):
                known = <bytes>self._names[index]
                if PyBytes_GET_SIZE(known) != size:
                    continue
                text = <const unsigned char*>PyBytes_AS_STRING(known)
                at = 0
                while at < size and LOWER[name[at]] == text[at]:
                    at += 1
                if at == size:
                    return self._kinds[index]
        known = self._family
        if PyBytes_GET_SIZE(known) == 0 or size < PyBytes_GET_SIZE(known):
            return -1
        text = <const unsigned char*>PyBytes_AS_STRING(known)
        for at in range(PyBytes_GET_SIZE(known)):
            if LOWER[name[at]] != text[at]:
                return -1
        return 0

    def find(self, bytes block not None):
        """As lines.FieldLines.find."""
        cdef const unsigned char* text = <const unsigned char*>PyBytes_AS_STRING(block)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(block)
        cdef Py_ssize_t at = 0
        cdef Py_ssize_t start, colon, first, last
        cdef int kind
        cdef bytes name
        cdef list found = []
        while text[at] != 0x0D:
            start = at
            while CLASSES[text[at]] & TCHAR:
                at += 1
            if at == start or text[at] != 0x3A:
                return None
            colon = at
            at += 1
            while CLASSES[text[at]] & VALUE:
                at += 1
            if text[at] != 0x0D or text[at + 1] != 0x0A:
                return None
            kind = self._kind(text + start, colon - start)
            if kind >= 0:
                first = colon + 1
                last = at
                while first < last and (text[first] == 0x20 or text[first] == 0x09):
                    first += 1
                while last > first and (text[last - 1] == 0x20 or text[last - 1] == 0x09):
                    last -= 1
                name = b"" if kind else block[start:colon].lower()
                found.append((kind, name, block[first:last], start, at + 2))
            at += 2
        if text[at + 1] != 0x0A or at + 2 != size:
            return None
        return found
