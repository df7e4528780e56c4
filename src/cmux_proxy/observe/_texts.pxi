# Texts, written at a cursor in the escapes of a format, as _numbers.pxi writes numbers. Part of
# _fast_lines.pyx.

from libc.stdint cimport uint32_t, uint64_t

cdef extern from "Python.h":
    bint PyUnicode_IS_ASCII(object text)
    const void *PyUnicode_DATA(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)

cdef extern from *:
    """
    #define EACH_BYTE(number) ((number) * 0x0101010101010101ULL)
    """
    uint64_t EACH_BYTE(uint64_t number) noexcept


cdef inline uint64_t marks_of(uint64_t eight, int form) noexcept:
    """Return 0 unless one of eight bytes is escaped."""
    cdef uint64_t quote = eight ^ EACH_BYTE(34)
    cdef uint64_t backslash = eight ^ EACH_BYTE(92)
    cdef uint64_t marks = eight
    if form != TEXT:
        # A byte that is 0 borrows from its highest bit.
        marks |= (quote - EACH_BYTE(1)) & ~quote
        marks |= (backslash - EACH_BYTE(1)) & ~backslash
    if form == JSON:
        # So does one below 32; adding one sets that bit of 127.
        marks |= (eight - EACH_BYTE(32)) & ~eight
        marks |= eight + EACH_BYTE(1)
    return marks & EACH_BYTE(128)


cdef inline bint is_plain(const unsigned char *source, Py_ssize_t length, int form) noexcept:
    """Return whether no byte is escaped."""
    cdef uint64_t eight = EACH_BYTE(97)
    cdef uint64_t marks = 0
    cdef Py_ssize_t at = 0
    if length < 8:
        for at in range(length):
            eight = eight << 8 | source[at]
        return marks_of(eight, form) == 0
    while at + 8 <= length:
        memcpy(&eight, source + at, 8)
        marks |= marks_of(eight, form)
        at += 8
    memcpy(&eight, source + length - 8, 8)
    return (marks | marks_of(eight, form)) == 0


cdef inline char *put_plain(char *to, const void *source, Py_ssize_t length) noexcept:
    """Write bytes as they are; short ones as two parts of a fixed size, which may overlap."""
    cdef const char *text = <const char *>source
    if length > 16:
        memcpy(to, text, length)
    elif length >= 8:
        memcpy(to, text, 8)
        memcpy(to + length - 8, text + length - 8, 8)
    elif length >= 4:
        memcpy(to, text, 4)
        memcpy(to + length - 4, text + length - 4, 4)
    elif length > 0:
        to[0] = text[0]
        to[length // 2] = text[length // 2]
        to[length - 1] = text[length - 1]
    return to + length


cdef inline char *put_padded(char *to, bytes data, Py_ssize_t length) noexcept:
    """Write the first bytes of data that has at least PADDED bytes, which is a fixed size."""
    if length <= PADDED:
        memcpy(to, PyBytes_AS_STRING(data), PADDED)
    else:
        memcpy(to, PyBytes_AS_STRING(data), length)
    return to + length


cdef char *put_escaped(char *to, str text, int form) except NULL:
    if form == JSON:
        text = encode_basestring_ascii(text)[1:-1]
    elif form == COMBINED:
        text = text.replace("\\", "\\\\").replace('"', '\\"')
    return put_bytes(to, text.encode("ascii", "backslashreplace"))


cdef inline char *put_str(char *to, str text, int form) except NULL:
    """Write a text, escaped as between the quotes of that form."""
    cdef Py_ssize_t length = PyUnicode_GET_LENGTH(text)
    cdef const unsigned char *source = <const unsigned char *>PyUnicode_DATA(text)
    if PyUnicode_IS_ASCII(text) and (form == TEXT or is_plain(source, length, form)):
        return put_plain(to, source, length)
    return put_escaped(to, text, form)


cdef inline char *put_latin1(char *to, const char *source, Py_ssize_t length, int form) except NULL:
    """Write bytes, escaped as between the quotes of that form."""
    if is_plain(<const unsigned char *>source, length, form):
        return put_plain(to, source, length)
    return put_escaped(to, source[:length].decode("latin-1"), form)


cdef inline char *put_word(char *to, str text) except NULL:
    """Write a text without quotes, or a dash for nothing."""
    return put_str(to, text, TEXT) if PyUnicode_GET_LENGTH(text) else put(to, "-")


cdef inline char *put_string(char *to, str text) except NULL:
    """Write a JSON string, or null for nothing."""
    if not PyUnicode_GET_LENGTH(text):
        return put(to, "null")
    return put(put_str(put(to, '"'), text, JSON), '"')
