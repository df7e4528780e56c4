# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, binding=False
"""The HEADERS frame of a response, written in one pass over its head, and headers of frames.

Compiled builds only. `hpack_encoder.py` and `frame_writer.py` define the bytes; this calls the
encoder for each line that is in neither of two dictionaries.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from libc.string cimport memchr, memcpy

from cmux_proxy.http2 import frame_types, static_table

cdef extern from "Python.h":
    PyObject* PyDict_GetItemWithError(object table, object key) except? NULL
    Py_ssize_t PyDict_Size(object table)
    long PyLong_AsLong(object number) except? -1

cdef enum:
    MAX_HEAD = 4000
    # A line has at least four bytes, and its encoding at most eleven more than the line.
    MAX_FRAME = 4 * MAX_HEAD + 64
    HEADER_SIZE = 9
    STATUS_AT = 9
    INDEXED = 0x80
    INDEX_MAX = 0x7F

# The size of the largest head that is taken here; its block fits into one frame.
MAX_FAST_HEAD = MAX_HEAD

cdef int HEADERS = frame_types.HEADERS
cdef int DATA = frame_types.DATA
cdef int END_HEADERS = frame_types.END_HEADERS
cdef int END_STREAM = frame_types.END_STREAM
cdef Py_ssize_t STATIC_SIZE = static_table.STATIC_SIZE


def head_frame(
    unsigned int stream_id, bint is_last, bytes head not None, bytes size_updates not None,
    dict literals not None, dict positions not None, encoder,
):
    """Return the frame of a head of at most MAX_FAST_HEAD bytes, with `size_updates` before it.

    `literals` has lines that never are in a table, `positions` the table. The encoder encodes any
    other line, and may add to both.
    """
    cdef unsigned char frame[MAX_FRAME]
    cdef const char* at = PyBytes_AS_STRING(head)
    cdef const char* end = at + PyBytes_GET_SIZE(head)
    cdef unsigned char* out = frame + HEADER_SIZE
    cdef const char* line_end
    cdef PyObject* found
    cdef bytes encoded
    out = _add_status(_add(out, size_updates), at + STATUS_AT)
    at = _end_of_line(at, end) + 2
    while at < end:
        line_end = _end_of_line(at, end)
        if line_end == at:
            break
        line = PyBytes_FromStringAndSize(at, line_end - at)
        at = line_end + 2
        found = PyDict_GetItemWithError(positions, line)
        if found is not NULL:
            out = _add_index(
                out, STATIC_SIZE + PyDict_Size(positions) - PyLong_AsLong(<object>found)
            )
            continue
        found = PyDict_GetItemWithError(literals, line)
        encoded = encoder.encode_line(line) if found is NULL else <object>found
        out = _add(out, encoded)
    _write_header(
        frame, out - frame - HEADER_SIZE, HEADERS, END_HEADERS | (END_STREAM if is_last else 0), stream_id
    )
    return PyBytes_FromStringAndSize(<const char*>frame, out - frame)


def response_frames(unsigned int stream_id, bytes block not None, bytes body not None):
    """Return the frames of a whole response."""
    cdef Py_ssize_t block_size = PyBytes_GET_SIZE(block)
    cdef Py_ssize_t body_size = PyBytes_GET_SIZE(body)
    frames = PyBytes_FromStringAndSize(NULL, 2 * HEADER_SIZE + block_size + body_size)
    cdef unsigned char* out = <unsigned char*>PyBytes_AS_STRING(frames)
    _write_header(out, block_size, HEADERS, END_HEADERS, stream_id)
    out = _add(out + HEADER_SIZE, block)
    _write_header(out, body_size, DATA, END_STREAM, stream_id)
    _add(out + HEADER_SIZE, body)
    return frames


def frame_header(Py_ssize_t size, int kind, int flags, unsigned int stream_id):
    """Return the nine bytes before a payload."""
    cdef unsigned char header[HEADER_SIZE]
    _write_header(header, size, kind, flags, stream_id)
    return PyBytes_FromStringAndSize(<const char*>header, HEADER_SIZE)


cdef inline const char* _end_of_line(const char* at, const char* end) noexcept:
    """Return where the CRLF behind a line begins, or the end."""
    while True:
        at = <const char*>memchr(at, b"\r", end - at)
        if at is NULL or at + 1 >= end:
            return end
        if at[1] == b"\n":
            return at
        at += 1


cdef inline unsigned char* _add(unsigned char* out, bytes encoded) except NULL:
    cdef Py_ssize_t size = PyBytes_GET_SIZE(encoded)
    memcpy(out, PyBytes_AS_STRING(encoded), size)
    return out + size


cdef inline unsigned char* _add_status(unsigned char* out, const char* digits) noexcept:
    """Write a :status of the static table (RFC 7541 appendix A), or as a literal."""
    cdef int status = (digits[0] - 48) * 100 + (digits[1] - 48) * 10 + digits[2] - 48
    cdef int index = 0
    if status == 200:
        index = 8
    elif status == 204:
        index = 9
    elif status == 206:
        index = 10
    elif status == 304:
        index = 11
    elif status == 400:
        index = 12
    elif status == 404:
        index = 13
    elif status == 500:
        index = 14
    if index:
        out[0] = INDEXED | index
        return out + 1
    out[0] = 8
    out[1] = 3
    memcpy(out + 2, digits, 3)
    return out + 5


cdef inline unsigned char* _add_index(unsigned char* out, Py_ssize_t index) noexcept:
    """Write an indexed field (RFC 7541 sections 5.1 and 6.1)."""
    if index < INDEX_MAX:
        out[0] = INDEXED | index
        return out + 1
    out[0] = INDEXED | INDEX_MAX
    index -= INDEX_MAX
    out += 1
    while index >= 0x80:
        out[0] = 0x80 | index & 0x7F
        index >>= 7
        out += 1
    out[0] = index
    return out + 1


cdef inline void _write_header(
    unsigned char* frame, Py_ssize_t size, int kind, int flags, unsigned int stream_id
) noexcept:
    """Write the header of the frame (RFC 9113 section 4.1)."""
    frame[0] = size >> 16
    frame[1] = size >> 8
    frame[2] = size
    frame[3] = kind
    frame[4] = flags
    frame[5] = stream_id >> 24
    frame[6] = stream_id >> 16
    frame[7] = stream_id >> 8
    frame[8] = stream_id
