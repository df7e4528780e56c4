# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
# cython: cdivision=True
"""Writes the lines of the access log into one buffer, without an object for a line.

Compiled builds only. `access_log.py` defines the bytes; this writes the same ones. What is rare,
such as a byte that is escaped, is left to the functions that define it, or to Python.

A line is written with a cursor. Before that, `_reserve` makes room for the longest line that its
texts may become, so that no function checks the room.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from libc.string cimport memchr
from posix.time cimport CLOCK_REALTIME, clock_gettime, timespec

from json.encoder import encode_basestring_ascii

from cmux_proxy.config.address import format_authority
from cmux_proxy.observe import record
from cmux_proxy.observe.access_log import second_of

cdef enum:
    TEXT = 0
    JSON = 1
    COMBINED = 2
    # Bytes of a line without its texts: names, the time, and numbers, of up to 314 bytes each.
    MAX_FIXED = 1024
    # Bytes that a character becomes at most: an escaped pair of surrogates.
    MAX_ESCAPE = 12

_FORMATS = {"text": TEXT, "json": JSON, "combined": COMBINED}

include "_numbers.pxi"
include "_texts.pxi"

cdef Py_ssize_t MAX_METHOD = record.MAX_METHOD
cdef Py_ssize_t MAX_PATH = record.MAX_PATH


cdef inline Py_ssize_t target_length(bytes request_line, Py_ssize_t start) noexcept:
    """Return the length of the target, which ends before the last space of the first line."""
    cdef const char *text = PyBytes_AS_STRING(request_line)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(request_line)
    cdef const char *end = <const char *>memchr(text, 10, size)
    cdef Py_ssize_t at = size if end == NULL else end - text
    while at > start and text[at - 1] != 32:
        at -= 1
    return at - 1 - start if at > start else 0


cdef inline Py_ssize_t length_without_query(const char *target, Py_ssize_t length) noexcept:
    cdef const char *query = <const char *>memchr(target, 63, length)
    return length if query == NULL else query - target


cdef inline bint must_change(const char *target, Py_ssize_t length) noexcept:
    """Return whether `path_of` cuts more than a query off this target."""
    if length and target[0] != 47:
        return memchr(target, 64, length) != NULL or length > MAX_PATH
    return length > MAX_PATH and length_without_query(target, length) > MAX_PATH


cdef class FastLines:
    """Lines in the format of that name, until `take` returns them.

    `add` returns whether they have `full_size` bytes by then.
    """

    cdef char *data
    cdef Py_ssize_t size, room, full_size
    cdef int form
    cdef str format_name
    # The second of the last line, and its text.
    cdef long long second
    cdef bytes second_text
    # The upstream of the last line, and its port and text.
    cdef object upstream
    cdef int port
    cdef bytes upstream_text

    def __init__(self, str format_name, Py_ssize_t full_size):
        self.full_size = full_size
        self.format_name = format_name
        self.form = _FORMATS[format_name]
        self.second = -1
        self.second_text = self.upstream_text = b""

    def __dealloc__(self):
        PyMem_Free(self.data)

    def add(
        self, str client not None, str kind not None, bytes method not None,
        bytes request_line not None, int minor, int status, object upstream, str workspace not None,
        unsigned long long received, unsigned long long sent, double seconds, double first_byte,
        bint is_reused, str error not None, /,
    ):
        """Add a line.

        `upstream` is a host and a port, or None. A negative `first_byte` stands for none.
        """
        if upstream is not self.upstream and upstream is not None:
            self._set_upstream(upstream)
        cdef Py_ssize_t method_length = PyBytes_GET_SIZE(method)
        cdef const char *path = PyBytes_AS_STRING(request_line) + method_length + 1
        cdef Py_ssize_t path_length = target_length(request_line, method_length + 1)
        if must_change(path, path_length):
            request_line = record.path_of(path[:path_length]).encode("latin-1")
            path = PyBytes_AS_STRING(request_line)
            path_length = PyBytes_GET_SIZE(request_line)
        else:
            path_length = length_without_query(path, path_length)
        if method_length > MAX_METHOD:
            method = record.shorten(method.decode("latin-1"), MAX_METHOD).encode("latin-1")
            method_length = PyBytes_GET_SIZE(method)
        cdef const char *verb = PyBytes_AS_STRING(method)
        self._reserve(
            PyUnicode_GET_LENGTH(client) + PyUnicode_GET_LENGTH(kind) + method_length + path_length
            + PyUnicode_GET_LENGTH(workspace) + PyUnicode_GET_LENGTH(error)
        )
        cdef char *to = self.data + self.size
        if self.form == TEXT:
            to = put_word(put(self._put_time(to), " "), client)
            to = put(put_str(put(to, " "), kind, TEXT), " ")
            to = put_latin1(to, verb, method_length, TEXT) if method_length else put(to, "-")
            to = put(to, " ")
            to = put_latin1(to, path, path_length, TEXT) if path_length else put(to, "-")
            to = put(put_number(put(to, " "), status), " port=")
            to = put(to, "-") if upstream is None else put_number(to, self.port)
            to = put(to, " workspace=")
            if PyUnicode_GET_LENGTH(workspace) and (" " in workspace or '"' in workspace):
                to = put_string(to, workspace)
            else:
                to = put_word(to, workspace)
            to = put(to, " upstream=")
            to = put(to, "-") if upstream is None else put_bytes(to, self.upstream_text)
            to = put_number(put(to, " in="), received)
            to = put_number(put(to, " out="), sent)
            to = put(put_fixed(put(to, " seconds="), seconds), " first=")
            to = put(to, "-") if first_byte < 0 else put_fixed(to, first_byte)
            to = put(to, " reused=yes error=") if is_reused else put(to, " reused=no error=")
            to = put(put_word(to, error), "\n")
        elif self.form == JSON:
            to = put(self._put_time(put(to, '{"time":"')), '","client":')
            to = put(put_string(to, client), ',"kind":')
            to = put(put_string(to, kind), ',"method":')
            if method_length:
                to = put(put_latin1(put(to, '"'), verb, method_length, JSON), '","path":')
            else:
                to = put(to, 'null,"path":')
            if path_length:
                to = put(put_latin1(put(to, '"'), path, path_length, JSON), '","status":')
            else:
                to = put(to, 'null,"status":')
            to = put(put_number(to, status), ',"port":')
            to = put(to, "null") if upstream is None else put_number(to, self.port)
            to = put(put_string(put(to, ',"workspace":'), workspace), ',"upstream":')
            if upstream is None:
                to = put(to, 'null,"bytes_in":')
            else:
                to = put(put_bytes(put(to, '"'), self.upstream_text), '","bytes_in":')
            to = put_number(put(put_number(to, received), ',"bytes_out":'), sent)
            to = put(put_float(put(to, ',"seconds":'), seconds), ',"first_byte_seconds":')
            to = put(to, "null") if first_byte < 0 else put_float(to, first_byte)
            if is_reused:
                to = put(to, ',"reused":true,"error":')
            else:
                to = put(to, ',"reused":false,"error":')
            to = put(put_string(to, error), "}\n")
        else:
            to = put(self._put_time(put(put_word(to, client), " - - [")), '] "')
            if method_length:
                to = put(put_latin1(to, verb, method_length, COMBINED), " ")
                to = put(put_latin1(to, path, path_length, COMBINED), " HTTP/1.")
                to = put_number(to, minor)
            else:
                to = put(to, "-")
            to = put_number(put(put_number(put(to, '" '), status), " "), sent)
            to = put(to, ' "-" "-"\n')
        self.size = to - self.data
        return self.size >= self.full_size

    def count(self):
        """Return how many bytes there are."""
        return self.size

    def take(self):
        """Return the lines, and begin with none."""
        lines = PyBytes_FromStringAndSize(self.data, self.size)
        self.size = 0
        return lines

    cdef int _reserve(self, Py_ssize_t characters) except -1:
        """Make room for a line whose texts, without its upstream, have that many characters."""
        cdef Py_ssize_t needed = self.size + MAX_FIXED + MAX_ESCAPE * characters
        needed += PyBytes_GET_SIZE(self.upstream_text)
        if needed > self.room:
            needed *= 2
            data = <char *>PyMem_Realloc(self.data, needed)
            if data == NULL:
                raise MemoryError
            self.data = data
            self.room = needed
        return 0

    cdef int _set_upstream(self, object upstream) except -1:
        host, port = upstream
        cdef bytes text = format_authority(host, port).encode("ascii", "backslashreplace")
        if self.form == JSON:
            text = encode_basestring_ascii(format_authority(host, port))[1:-1].encode("ascii")
        self.port = port
        self.upstream_text = text
        self.upstream = upstream
        return 0

    cdef char *_put_time(self, char *to) except NULL:
        """Write the time of day: its second is the text of `second_of`."""
        cdef timespec now
        clock_gettime(CLOCK_REALTIME, &now)
        if now.tv_sec != self.second:
            self.second_text = second_of(self.format_name, now.tv_sec)
            self.second = now.tv_sec
        to = put_bytes(to, self.second_text)
        if self.form == COMBINED:
            return to
        return put(put_digits(put(to, "."), now.tv_nsec // 1000000, 3), "Z")
