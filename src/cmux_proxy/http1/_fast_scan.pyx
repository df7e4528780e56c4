# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=False
# cython: binding=False
"""Finds the facts of simple heads in one pass over their bytes.

Compiled builds only. `scan.py` and `fields.py` define the result; this is a shortcut to the same
facts. It returns None for a head that is incomplete, malformed, past a limit or not simple, and
`scan.py` then reads the head. Not simple are: a field of interest that comes twice, a Connection
that is not one known option, a Host with an escape, a Transfer-Encoding with unusual white space,
an Expect that has not exactly one member, TE, HTTP2-Settings, and a response that may not have its
framing fields. No head is refused here, and every byte of an accepted head was looked up in a table
of byte classes.

Nothing is read past the end of the buffer: a bytes object ends in a NUL byte, which belongs to no
class, so every loop over a class stops there. Nothing is read before its start: field lines come
after a start line of more than eight bytes. `_bytes.pxi` and `_words.pxi` are parts of this file.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint64_t
from libc.string cimport memchr, memcmp, memcpy, memset

from cmux_proxy.http1 import field_kinds, head

include "_bytes.pxi"
include "_words.pxi"

# The kinds of simple fields, numbered for this file alone; a C array is indexed by them.
cdef enum:
    RESERVED = 0
    HOP_BY_HOP = 1
    HOST = 2
    EXPECT = 3
    CONNECTION = 4
    CONTENT_LENGTH = 5
    TRANSFER_ENCODING = 6
    UPGRADE = 7
    # All other kinds; also the number of the simple ones.
    NOT_SIMPLE = 8

# From the kinds of field_kinds.py to those above.
_SIMPLE_KINDS = {
    field_kinds.KIND_RESERVED: RESERVED,
    field_kinds.KIND_HOP_BY_HOP: HOP_BY_HOP,
    field_kinds.KIND_HOST: HOST,
    field_kinds.KIND_EXPECT: EXPECT,
    field_kinds.KIND_CONNECTION: CONNECTION,
    field_kinds.KIND_CONTENT_LENGTH: CONTENT_LENGTH,
    field_kinds.KIND_TRANSFER_ENCODING: TRANSFER_ENCODING,
    field_kinds.KIND_UPGRADE: UPGRADE,
}

cdef enum:
    MAX_WORDS = 24
    MAX_CUTS = 16
    MAX_RESERVED = 4
    MAX_DIGITS = 18
    KNOWN_LINES = 256
    MAX_KNOWN_LINE = 128

cdef Py_ssize_t MAX_JOINED = head.MAX_JOINED
cdef bytes GET = b"GET"


cdef bint _is_host(const unsigned char* at, const unsigned char* end) noexcept:
    """Return whether a value is a host without an escape, and an optional port."""
    cdef const unsigned char* start = at
    if at < end and at[0] == 0x5B:
        at += 1
        while CLASSES[at[0]] & HOST_LITERAL:
            at += 1
        if at == start + 1 or at[0] != 0x5D:
            return False
        at += 1
    else:
        while at < end and CLASSES[at[0]] & HOST_NAME:
            at += 1
        if at == start:
            return False
    if at < end and at[0] == 0x3A:
        at += 1
        start = at
        while at < end and CLASSES[at[0]] & DIGIT:
            at += 1
        if at - start > 5:
            return False
    return at == end


cdef inline long long _number(const unsigned char* at, const unsigned char* end) noexcept:
    """Return the number that up to MAX_DIGITS digits are, -1 for any other text."""
    cdef long long number = 0
    if at == end or end - at > MAX_DIGITS:
        return -1
    while at < end:
        if not CLASSES[at[0]] & DIGIT:
            return -1
        number = number * 10 + (at[0] - 0x30)
        at += 1
    return number


cdef inline bint _is_bare(
    const unsigned char* start, Slice value, const unsigned char* end
) noexcept:
    """Return whether only spaces are before a value, and nothing is after it."""
    while start < value.start:
        if start[0] != 0x20:
            return False
        start += 1
    return value.end == end


cdef inline bint _is_one_member(Slice value) noexcept:
    """Return whether a value is a list of one member."""
    cdef Py_ssize_t size = value.end - value.start
    return size != 0 and memchr(value.start, 0x2C, size) == NULL


cdef struct Section:
    # The end, the bits of Connection, and the Content-Length, or -1 without one.
    const unsigned char* end
    int connection
    long long length
    # The values of the other single fields by their kinds; NULL for a field that is missing.
    Slice[NOT_SIMPLE] values
    int reserved
    Slice[MAX_RESERVED] names
    Slice[MAX_RESERVED] reserved_values
    int cuts
    Slice[MAX_CUTS] lines


cdef inline bint _is_consistent(int status, int minor, Section* section) noexcept:
    """Return whether the full scan accepts a response with these framing fields."""
    cdef bint is_coded = section.values[TRANSFER_ENCODING].start != NULL
    if is_coded and (section.length >= 0 or minor == 0):
        return False
    return (status >= 200 and status != 204) or not (is_coded or section.length >= 0)


cdef class FastScan:
    """Reads heads within `limits`; `kinds` are the kinds of field names, `options` bits by name.

    `prefix` and `suffix` are those of ReservedFields. `new_head` makes a head, see `new_head.py`;
    `finder` is its first argument.
    """

    # Sorted by length, and the index of the first name of each length, because most names differ
    # in length. A word without text marks the end.
    cdef Word[MAX_WORDS + 1] _names
    cdef unsigned char[MAX_WORD_SIZE + 1] _first
    cdef Word[MAX_WORDS + 1] _options
    cdef Word _prefix, _suffix
    cdef bytes _host
    # Reserved field lines that have come before, and what they say as a tuple of one field: peers
    # repeat them, and the router finds a value faster that it has seen as the same object.
    cdef list _known_lines, _known_fields
    cdef object _finder, _new_head
    cdef Py_ssize_t _start_line, _section, _fields

    def __init__(
        self, kinds, options, limits, bytes prefix not None, bytes suffix not None, finder, new_head
    ):
        cdef int index
        names = sorted(kinds, key=len)
        if max(len(names), len(options)) > MAX_WORDS:
            raise ValueError("too many words")
        for index in range(MAX_WORD_SIZE + 1):
            self._first[index] = len(names)
        for index in reversed(range(len(names))):
            kind = _SIMPLE_KINDS.get(kinds[names[index]], NOT_SIMPLE)
            self._names[index] = _word(names[index], kind)
            self._first[len(names[index])] = index
        self._names[len(names)] = _word(b"", -1)
        for index, option in enumerate(options):
            self._options[index] = _word(option, options[option])
        self._options[len(options)] = _word(b"", 0)
        self._host = b""
        self._known_lines = [b""] * KNOWN_LINES
        self._known_fields = [()] * KNOWN_LINES
        self._prefix = _word(prefix, RESERVED)
        self._suffix = _word(suffix, RESERVED)
        self._start_line, self._section, self._fields = limits
        self._finder = finder
        self._new_head = new_head

    def request(self, bytes buffer not None):
        """Return the head at the start of `buffer`, or None."""
        cdef const unsigned char* text = <const unsigned char*>PyBytes_AS_STRING(buffer)
        cdef const unsigned char* last = text + PyBytes_GET_SIZE(buffer)
        cdef const unsigned char* at = text
        cdef const unsigned char* target
        cdef Slice method
        cdef Section section
        method.start = at
        while CLASSES[at[0]] & TCHAR:
            at += 1
        method.end = at
        if at == text or at[0] != 0x20:
            return None
        at += 1
        target = at
        while CLASSES[at[0]] & TARGET:
            at += 1
        if at == target or last - at < 11 or memcmp(at, b" HTTP/1.", 8) != 0:
            return None
        if at[8] != 0x30 and at[8] != 0x31:
            return None
        if at[9] != 0x0D or at[10] != 0x0A or at + 11 - text > self._start_line:
            return None
        if not self._read(at + 11, last, &section):
            return None
        return self._new_head(
            self._finder,
            buffer,
            last - section.end,
            # One object for the usual method, so that its hash is computed once.
            GET if method.end - text == 3 and memcmp(text, b"GET", 3) == 0 else _bytes(method),
            at[8] - 0x30,
            _without_cuts(buffer, &section, section.end),
            section.connection,
            None if section.length < 0 else section.length,
            _bytes_or_none(section.values[TRANSFER_ENCODING]),
            _bytes_or_none(section.values[UPGRADE]),
            self._host_of(section.values[HOST]),
            _bytes_or_none(section.values[EXPECT]),
            self._reserved_fields(&section),
        )

    def response(self, bytes buffer not None):
        """Return the head at the start of `buffer`, or None."""
        cdef const unsigned char* text = <const unsigned char*>PyBytes_AS_STRING(buffer)
        cdef const unsigned char* last = text + PyBytes_GET_SIZE(buffer)
        cdef const unsigned char* at = text + 12
        cdef int status
        cdef Section section
        if last - text < 14 or memcmp(text, b"HTTP/1.", 7) != 0 or text[8] != 0x20:
            return None
        if text[7] != 0x30 and text[7] != 0x31:
            return None
        if not (0x31 <= text[9] <= 0x39 and CLASSES[text[10]] & CLASSES[text[11]] & DIGIT):
            return None
        if at[0] != 0x20:
            return None
        at = _value_end(at, last)
        if at[0] != 0x0D or at[1] != 0x0A or at + 2 - text > self._start_line:
            return None
        if not self._read(at + 2, last, &section):
            return None
        status = (text[9] - 0x30) * 100 + (text[10] - 0x30) * 10 + (text[11] - 0x30)
        if not _is_consistent(status, text[7] - 0x30, &section):
            return None
        return self._new_head(
            self._finder,
            buffer,
            last - section.end,
            status,
            text[7] - 0x30,
            _spliced(buffer, &section),
            section.connection,
            None if section.length < 0 else section.length,
            _bytes_or_none(section.values[TRANSFER_ENCODING]),
            _bytes_or_none(section.values[UPGRADE]),
        )

    cdef bint _read(
        self, const unsigned char* text, const unsigned char* last, Section* section
    ) noexcept:
        """Read the header section at `text`; return whether all of it is simple."""
        cdef const unsigned char* at = text
        cdef Slice name, value
        cdef int kind, seen = 0, lines = 0
        section.connection = section.reserved = section.cuts = 0
        section.length = -1
        for kind in range(NOT_SIMPLE):
            section.values[kind].start = NULL
        while at[0] != 0x0D:
            name.start = at
            while CLASSES[at[0]] & TCHAR:
                at += 1
            name.end = at
            if at == name.start or at[0] != 0x3A:
                return False
            at = _value_end(at + 1, last)
            if at[0] != 0x0D or at[1] != 0x0A:
                return False
            at += 2
            lines += 1
            kind = self._kind(name.start, name.end - name.start)
            if kind < 0:
                continue
            if kind > HOP_BY_HOP:
                if seen >> kind & 1:
                    return False
                seen |= 1 << kind
            value.start = name.end + 1
            value.end = at - 2
            while value.start < value.end and _is_blank(value.start):
                value.start += 1
            while value.start < value.end and _is_blank(value.end - 1):
                value.end -= 1
            if not self._add_field(kind, name, value, at, section):
                return False
        section.end = at + 2
        return at[1] == 0x0A and section.end - text <= self._section and lines <= self._fields

    cdef bint _add_field(
        self, int kind, Slice name, Slice value, const unsigned char* line_end, Section* section
    ) noexcept:
        """Add a field of interest to the section; return whether it is simple."""
        if kind == HOST or kind == EXPECT or kind == TRANSFER_ENCODING:
            section.values[kind] = value
            if kind == TRANSFER_ENCODING:
                return _is_bare(name.end + 1, value, line_end - 2)
            if kind == EXPECT:
                return _is_one_member(value)
            return _is_host(value.start, value.end)
        if kind == CONTENT_LENGTH:
            section.length = _number(value.start, value.end)
            return section.length >= 0
        if section.cuts == MAX_CUTS:
            return False
        section.lines[section.cuts].start = name.start
        section.lines[section.cuts].end = line_end
        section.cuts += 1
        if kind == CONNECTION:
            section.connection = self._option(value.start, value.end - value.start)
            return section.connection != 0
        if kind == UPGRADE:
            section.values[kind] = value
        elif kind == RESERVED:
            if section.reserved == MAX_RESERVED:
                return False
            section.names[section.reserved] = name
            section.reserved_values[section.reserved] = value
            section.reserved += 1
        elif kind >= NOT_SIMPLE:
            return False
        return True

    cdef int _kind(self, const unsigned char* name, Py_ssize_t size) noexcept:
        """Return the kind of a name, -1 if it is of no interest."""
        cdef const unsigned char* end = name + size
        cdef Word* word
        if size <= MAX_WORD_SIZE:
            word = &self._names[self._first[size]]
            while word.size == size:
                if _ends_with(end, word):
                    return word.number
                word += 1
        if self._prefix.size == 0 or size < self._prefix.size or size < self._suffix.size:
            return -1
        if not _ends_with(name + self._prefix.size, &self._prefix):
            return -1
        return RESERVED if _ends_with(end, &self._suffix) else -1

    cdef int _option(self, const unsigned char* value, Py_ssize_t size) noexcept:
        """Return the bit of a Connection value that is one known option, 0 for any other value."""
        cdef Word* word = &self._options[0]
        while word.size:
            if word.size == size and _ends_with(value + size, word):
                return word.number
            word += 1
        return 0

    cdef bytes _host_of(self, Slice value):
        """Return the value of Host: the last object if it is equal, because its hash is known."""
        cdef Py_ssize_t size
        if value.start == NULL:
            return None
        size = value.end - value.start
        if PyBytes_GET_SIZE(self._host) != size or memcmp(
            PyBytes_AS_STRING(self._host), value.start, size
        ):
            self._host = _bytes(value)
        return self._host

    cdef tuple _reserved_fields(self, Section* section):
        """Return the reserved fields as (lower-case name, value)."""
        cdef int index
        cdef tuple fields = ()
        for index in range(section.reserved):
            field = self._reserved_field(section.names[index], section.reserved_values[index])
            if section.reserved == 1:
                return field
            fields += field
        return fields

    cdef tuple _reserved_field(self, Slice name, Slice value):
        """Return a tuple of one field."""
        cdef Slice line = Slice(name.start, value.end)
        cdef Py_ssize_t size = line.end - line.start
        # The start line is before the line, so that eight bytes can be read.
        cdef int place = (_eight(line.end - 8) * 0x9E3779B97F4A7C15ULL) >> 56
        cdef bytes known = self._known_lines[place]
        if PyBytes_GET_SIZE(known) == size and not memcmp(
            PyBytes_AS_STRING(known), line.start, size
        ):
            return self._known_fields[place]
        field = ((_bytes(name).lower(), _bytes(value)),)
        if size <= MAX_KNOWN_LINE:
            self._known_lines[place] = _bytes(line)
            self._known_fields[place] = field
        return field


cdef bytes _spliced(bytes buffer, Section* section):
    """Return a response head without its cuts, and what ResponseHead.spliced has behind it."""
    cdef const unsigned char* end = (
        <const unsigned char*>PyBytes_AS_STRING(buffer) + PyBytes_GET_SIZE(buffer)
    )
    cdef Py_ssize_t rest_size = end - section.end
    is_joined = rest_size == section.length and rest_size <= MAX_JOINED
    return _without_cuts(buffer, section, end if is_joined else section.end)


cdef bytes _without_cuts(bytes buffer, Section* section, const unsigned char* end):
    """Return the bytes up to `end` without the cuts."""
    cdef const unsigned char* at = <const unsigned char*>PyBytes_AS_STRING(buffer)
    cdef Py_ssize_t size = end - at
    cdef int index
    cdef char* to
    cdef bytes stripped
    if section.cuts == 0 and size == PyBytes_GET_SIZE(buffer):
        return buffer
    for index in range(section.cuts):
        size -= section.lines[index].end - section.lines[index].start
    stripped = PyBytes_FromStringAndSize(NULL, size)
    to = PyBytes_AS_STRING(stripped)
    for index in range(section.cuts):
        size = section.lines[index].start - at
        memcpy(to, at, size)
        to += size
        at = section.lines[index].end
    memcpy(to, at, end - at)
    return stripped
