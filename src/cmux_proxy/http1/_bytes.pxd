"""Classes of bytes, slices, and reading eight bytes at once.

A module that uses the classes calls `fill_classes` once.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint64_t
from libc.string cimport memcpy


cdef extern from *:
    """
    /* Marks are bits 0x80 in the bytes of a number that was loaded; the first byte is the lowest. */
    #if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    #define in_order(eight) __builtin_bswap64(eight)
    #else
    #define in_order(eight) (eight)
    #endif
    #define first_mark(marks) (__builtin_ctzll(marks) >> 3)

    static unsigned char CLASSES[256];
    """
    uint64_t in_order(uint64_t eight) noexcept
    int first_mark(uint64_t marks) noexcept
    unsigned char[256] CLASSES

cdef enum:
    TCHAR = 1
    TARGET = 2
    VALUE = 4
    HOST_NAME = 8
    HOST_LITERAL = 16
    DIGIT = 32


cdef inline void fill_classes() except *:
    cdef int byte
    cdef bytes others = b"!#$%&'*+-.^_`|~"
    cdef bytes in_host = b"-._~!$&'()*+;="
    for byte in range(256):
        CLASSES[byte] = 0
        if 0x30 <= byte <= 0x39:
            CLASSES[byte] |= TCHAR | HOST_NAME | HOST_LITERAL | DIGIT
        if 0x41 <= byte <= 0x5A or 0x61 <= byte <= 0x7A:
            CLASSES[byte] |= TCHAR | HOST_NAME
        if 0x61 <= byte | 0x20 <= 0x66 or byte in b".:":
            CLASSES[byte] |= HOST_LITERAL
        if byte in others:
            CLASSES[byte] |= TCHAR
        if byte in in_host:
            CLASSES[byte] |= HOST_NAME
        if 0x21 <= byte <= 0x7E and byte != 0x23:
            CLASSES[byte] |= TARGET
        if byte == 0x09 or 0x20 <= byte <= 0x7E or byte >= 0x80:
            CLASSES[byte] |= VALUE


cdef struct Slice:
    const unsigned char* start
    const unsigned char* end


cdef inline bytes bytes_of(Slice text):
    return PyBytes_FromStringAndSize(<const char*>text.start, text.end - text.start)


cdef inline bytes bytes_or_none(Slice text):
    return None if text.start == NULL else bytes_of(text)


cdef inline uint64_t eight_at(const unsigned char* at) noexcept:
    """Return eight bytes as a number, as the machine orders them."""
    cdef uint64_t eight
    memcpy(&eight, at, 8)
    return eight


cdef inline bint is_blank(const unsigned char* at) noexcept:
    return at[0] == 0x20 or at[0] == 0x09


cdef inline const unsigned char* value_end(
    const unsigned char* at, const unsigned char* last
) noexcept:
    """Return the first byte that a field value may not have; `last` is the buffer's NUL byte."""
    cdef uint64_t eight, del_or_zero, marks
    while last - at >= 8:
        # A byte below 0x20 borrows from its highest bit; so does 0x7F, which the XOR turns into 0.
        # Only bytes behind the first marked one may be marked by mistake.
        eight = in_order(eight_at(at))
        del_or_zero = eight ^ 0x7F7F7F7F7F7F7F7FULL
        marks = (
            ((eight - 0x2020202020202020ULL) & ~eight)
            | ((del_or_zero - 0x0101010101010101ULL) & ~del_or_zero)
        ) & 0x8080808080808080ULL
        if marks == 0:
            at += 8
            continue
        at += first_mark(marks)
        if at[0] != 0x09:
            return at
        at += 1
    while CLASSES[at[0]] & VALUE:
        at += 1
    return at
