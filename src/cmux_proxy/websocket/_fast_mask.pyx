# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, binding=False
"""Masks payloads, eight bytes at a time (RFC 6455 section 5.3).

Compiled builds only. `masking.py` defines the result.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint64_t
from libc.string cimport memcpy

cdef enum:
    KEY_SIZE = 4


def mask(
    bytes data not None, Py_ssize_t start, Py_ssize_t end, bytes key not None, Py_ssize_t phase
):
    """Return the bytes from `start` to `end` combined with the key, `phase` bytes into it."""
    if not 0 <= start <= end <= PyBytes_GET_SIZE(data):
        raise ValueError("not within the data")
    if PyBytes_GET_SIZE(key) != KEY_SIZE or phase < 0:
        raise ValueError("not a key of four bytes, or no phase")
    cdef Py_ssize_t size = end - start
    cdef bytes result = PyBytes_FromStringAndSize(NULL, size)
    cdef unsigned char keys[8]
    cdef Py_ssize_t at
    for at in range(8):
        keys[at] = PyBytes_AS_STRING(key)[(phase + at) % KEY_SIZE]
    _combine(PyBytes_AS_STRING(result), PyBytes_AS_STRING(data) + start, size, keys)
    return result


cdef void _combine(
    char* out, const char* source, Py_ssize_t size, const unsigned char* keys
) noexcept nogil:
    """Write the source combined with the keys, eight of them at a time."""
    cdef uint64_t eight_keys
    cdef uint64_t word
    cdef Py_ssize_t at = 0
    memcpy(&eight_keys, keys, 8)
    while at + 8 <= size:
        memcpy(&word, source + at, 8)
        word ^= eight_keys
        memcpy(out + at, &word, 8)
        at += 8
    while at < size:
        out[at] = <char>(<unsigned char>source[at] ^ keys[at & 7])
        at += 1
