# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
# cython: cdivision=True, binding=False
"""The access log of the compiled build: lines in one buffer, without an object for a line.

`access_log.py` defines the bytes, `line_block.py` the rest; this does the same. What is rare, such
as a byte that is escaped, is left to the functions that define it, or to Python.

A line is written with a cursor. Before that, `_reserve` makes room for the longest line that its
texts may become, so that no function checks the room.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from libc.string cimport memchr, memcmp
from posix.time cimport CLOCK_MONOTONIC, CLOCK_REALTIME, clock_gettime, timespec

from json.encoder import encode_basestring_ascii

from cmux_proxy.config.address import format_authority
from cmux_proxy.observe import record as records
from cmux_proxy.observe.access_log import second_of

cdef enum:
    TEXT = 0
    JSON = 1
    COMBINED = 2
    # Bytes of a line without its texts: names, the time, and numbers, of up to 314 bytes each.
    MAX_FIXED = 1024
    # How many bytes `put_padded` copies at least.
    PADDED = 48
    # Bytes that a character becomes at most: an escaped pair of surrogates.
    MAX_ESCAPE = 12
    # How many upstreams are kept as texts.
    MAX_UPSTREAMS = 1024

_FORMATS = {"text": TEXT, "json": JSON, "combined": COMBINED}

include "_numbers.pxi"
include "_texts.pxi"
include "_targets.pxi"
include "_upstreams.pxi"


def monotonic():
    """Return what `time.monotonic` returns."""
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return now.tv_sec + now.tv_nsec * 1e-9


cdef class FastLines:
    """What `line_block.py` has as LineBlock, with `add` for a line without a record."""

    cdef char *data
    cdef Py_ssize_t length, room, full_size, second_length
    cdef int form
    cdef str format_name
    cdef object begin, hand_over
    cdef public Py_ssize_t dropped
    cdef public bint is_begun
    # The second of the last line, and its text.
    cdef long long second
    cdef bytes second_text
    # The upstream of the last line, and those of others.
    cdef object target
    cdef Upstream upstream
    cdef dict upstreams

    def __init__(self, str format_name, begin, hand_over, Py_ssize_t full_size):
        self.begin, self.hand_over = begin, hand_over
        self.full_size = full_size
        self.format_name = format_name
        self.form = _FORMATS[format_name]
        self.second = -1
        self.upstream = Upstream(self.form, None)
        self.upstreams = {None: self.upstream}

    def __dealloc__(self):
        PyMem_Free(self.data)

    def add(
        self, str client not None, str kind not None, bytes method not None,
        bytes request_line not None, str protocol not None, int status, object target, str workspace not None,
        unsigned long long received, unsigned long long sent, double started, object first_byte,
        double ended, bint is_reused, str error not None, /,
    ):
        """Add a line, or count it as lost; never waits.

        `request_line` begins with the method, a space, the whole target, and another space.
        `target` is the host and the port of the upstream, or None; `first_byte` is None for none.
        """
        if self.length >= self.full_size and not self.hand_over():
            self.dropped += 1
            return
        if target is not self.target:
            self._set_upstream(target)
        cdef Py_ssize_t method_length = PyBytes_GET_SIZE(method)
        cdef const char *path = PyBytes_AS_STRING(request_line) + method_length + 1
        cdef Py_ssize_t length, path_length = target_length(request_line, method_length + 1)
        if must_change(path, path_length):
            request_line = records.path_of(path[:path_length]).encode("latin-1")
            path = PyBytes_AS_STRING(request_line)
            path_length = PyBytes_GET_SIZE(request_line)
        else:
            path_length = length_without_query(path, path_length)
        if method_length > MAX_METHOD:
            method = records.shorten(method.decode("latin-1"), MAX_METHOD).encode("latin-1")
            method_length = PyBytes_GET_SIZE(method)
        cdef const char *verb = PyBytes_AS_STRING(method)
        cdef double seconds = ended - started
        cdef double until_first_byte = -1.0 if first_byte is None else <double>first_byte - started
        self._reserve(
            method_length + path_length + PyUnicode_GET_LENGTH(client) + PyUnicode_GET_LENGTH(kind)
            + PyUnicode_GET_LENGTH(protocol) + PyUnicode_GET_LENGTH(workspace)
            + PyUnicode_GET_LENGTH(error)
        )
        cdef Upstream upstream = self.upstream
        cdef char *number
        cdef char *to = self.data + self.length
        if self.form == TEXT:
            to = put_word(put(self._put_time(to), " "), client)
            to = put(put_str(put(to, " "), kind, TEXT), " ")
            to = put_latin1(to, verb, method_length, TEXT) if method_length else put(to, "-")
            to = put(to, " ")
            to = put_latin1(to, path, path_length, TEXT) if path_length else put(to, "-")
            to = put_number(put(to, " "), status)
            to = put_padded(to, upstream.before, upstream.before_length)
            if PyUnicode_GET_LENGTH(workspace) and (" " in workspace or '"' in workspace):
                to = put_string(to, workspace)
            else:
                to = put_word(to, workspace)
            to = put_padded(to, upstream.behind, upstream.behind_length)
            to = number = put(put_number(put(put_number(to, received), " out="), sent), " seconds=")
            to = put_fixed(to, seconds)
            length = to - number
            to = put(to, " first=")
            if first_byte is None:
                to = put(to, "-")
            elif until_first_byte == seconds:
                to = put_plain(to, number, length)
            else:
                to = put_fixed(to, until_first_byte)
            to = put(to, " reused=yes protocol=") if is_reused else put(to, " reused=no protocol=")
            to = put(put_word(put(put_word(to, protocol), " error="), error), "\n")
        elif self.form == JSON:
            to = put(self._put_time(put(to, '{"time":"')), '","client":')
            to = put(put_string(to, client), ',"kind":"')
            to = put(put_str(to, kind, TEXT), '","method":')
            if method_length:
                to = put(put_latin1(put(to, '"'), verb, method_length, JSON), '","path":')
            else:
                to = put(to, 'null,"path":')
            if path_length:
                to = put(put_latin1(put(to, '"'), path, path_length, JSON), '","status":')
            else:
                to = put(to, 'null,"status":')
            to = put_padded(put_number(to, status), upstream.before, upstream.before_length)
            to = put_string(to, workspace)
            to = put_padded(to, upstream.behind, upstream.behind_length)
            to = put_number(put(put_number(to, received), ',"bytes_out":'), sent)
            to = number = put(to, ',"seconds":')
            to = put_float(to, seconds)
            length = to - number
            to = put(to, ',"first_byte_seconds":')
            if first_byte is None:
                to = put(to, "null")
            elif until_first_byte == seconds:
                to = put_plain(to, number, length)
            else:
                to = put_float(to, until_first_byte)
            to = put(to, ',"reused":true,') if is_reused else put(to, ',"reused":false,')
            to = put(put_string(put(to, '"protocol":'), protocol), ',"error":')
            to = put(put_string(to, error), "}\n")
        else:
            to = put(self._put_time(put(put_word(to, client), " - - [")), '] "')
            if method_length:
                to = put(put_latin1(to, verb, method_length, COMBINED), " ")
                to = put(put_latin1(to, path, path_length, COMBINED), " ")
                to = put_str(to, protocol, COMBINED)
            else:
                to = put(to, "-")
            to = put_number(put(put_number(put(to, '" '), status), " "), sent)
            to = put(to, ' "-" "-"\n')
        self.length = to - self.data
        if not self.is_begun:
            self.is_begun = True
            self.begin()
        if self.length >= self.full_size:
            self.hand_over()

    def put(self, record):
        """Add the line of a record, or count it as lost; never waits."""
        self.add(
            record.client, record.kind, record.method.encode("latin-1"),
            f"{record.method} {record.path} -\n".encode("latin-1"), record.protocol, record.status,
            (record.host, record.port) if record.port else None, record.workspace, record.received,
            record.sent, record.started, record.first_byte or None, record.ended,
            record.is_reused, record.error,
        )

    def __call__(self, record):
        """Do what `put` does."""
        self.put(record)

    def size(self):
        """Return how many bytes the lines have."""
        return self.length

    def take(self):
        """Return the lines, and begin with none."""
        lines, self.length = PyBytes_FromStringAndSize(self.data, self.length), 0
        return lines

    cdef inline int _reserve(self, Py_ssize_t characters) except -1:
        """Make room for a line whose texts, without its upstream, have that many characters."""
        cdef Py_ssize_t needed = self.length + MAX_FIXED + MAX_ESCAPE * characters
        needed += self.upstream.behind_length
        return self._grow(2 * needed) if needed > self.room else 0

    cdef int _grow(self, Py_ssize_t room) except -1:
        data = <char *>PyMem_Realloc(self.data, room)
        if data == NULL:
            raise MemoryError
        self.data = data
        self.room = room
        return 0

    cdef int _set_upstream(self, object target) except -1:
        upstream = self.upstreams.get(target)
        if upstream is None:
            if len(self.upstreams) >= MAX_UPSTREAMS:
                self.upstreams.clear()
            upstream = self.upstreams[target] = Upstream(self.form, target)
        self.upstream = upstream
        self.target = target
        return 0

    cdef inline char *_put_time(self, char *to) except NULL:
        """Write the time of day: its second is the text of `second_of`."""
        cdef timespec now
        clock_gettime(CLOCK_REALTIME, &now)
        if now.tv_sec != self.second:
            text = second_of(self.format_name, now.tv_sec)
            self.second_length = len(text)
            self.second_text = text.ljust(PADDED)
            self.second = now.tv_sec
        to = put_padded(to, self.second_text, self.second_length)
        if self.form == COMBINED:
            return to
        return put(put_three(put(to, "."), now.tv_nsec // 1000000), "Z")
