# Texts, written at a cursor in the escapes of a format, as _numbers.pxi writes numbers. Part of
# _fast_lines.pyx.

cdef extern from "Python.h":
    bint PyUnicode_IS_ASCII(object text)
    const void *PyUnicode_DATA(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)


cdef inline bint is_plain(const unsigned char *source, Py_ssize_t length, int form) noexcept:
    """Return whether no byte is escaped; all bytes are looked at, so that it can be vectorized."""
    cdef unsigned char found = 0
    cdef Py_ssize_t i
    if form == TEXT:
        for i in range(length):
            found |= source[i] & 128
    elif form == JSON:
        for i in range(length):
            found |= (source[i] < 32) | (source[i] == 34) | (source[i] == 92) | (source[i] >= 127)
    else:
        for i in range(length):
            found |= (source[i] == 34) | (source[i] == 92) | (source[i] >= 128)
    return found == 0


cdef char *put_escaped(char *to, str text, int form) except NULL:
    if form == JSON:
        text = encode_basestring_ascii(text)[1:-1]
    elif form == COMBINED:
        text = text.replace("\\", "\\\\").replace('"', '\\"')
    return put_bytes(to, text.encode("ascii", "backslashreplace"))


cdef char *put_str(char *to, str text, int form) except NULL:
    """Write a text, escaped as between the quotes of that form."""
    cdef Py_ssize_t length = PyUnicode_GET_LENGTH(text)
    cdef const unsigned char *source = <const unsigned char *>PyUnicode_DATA(text)
    if PyUnicode_IS_ASCII(text) and (form == TEXT or is_plain(source, length, form)):
        memcpy(to, source, length)
        return to + length
    return put_escaped(to, text, form)


cdef char *put_latin1(char *to, const char *source, Py_ssize_t length, int form) except NULL:
    """Write bytes, escaped as between the quotes of that form."""
    if is_plain(<const unsigned char *>source, length, form):
        memcpy(to, source, length)
        return to + length
    return put_escaped(to, source[:length].decode("latin-1"), form)


cdef char *put_word(char *to, str text) except NULL:
    """Write a text without quotes, or a dash for nothing."""
    return put_str(to, text, TEXT) if PyUnicode_GET_LENGTH(text) else put(to, "-")


cdef char *put_string(char *to, str text) except NULL:
    """Write a JSON string, or null for nothing."""
    if not PyUnicode_GET_LENGTH(text):
        return put(to, "null")
    return put(put_str(put(to, '"'), text, JSON), '"')
