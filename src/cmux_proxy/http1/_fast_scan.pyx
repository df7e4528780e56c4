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
after a start line of more than eight bytes.

Neighbours, all compiled into this module: `_section.pxd` reads header sections, `_names.pxd` knows
their names, `_words.pxd` compares words, `_bytes.pxd` has the classes.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memcmp, memcpy

from cmux_proxy.http1._bytes cimport (
    CLASSES, DIGIT, TARGET, TCHAR, Slice, bytes_of, bytes_or_none, eight_at, fill_classes,
    value_end,
)
from cmux_proxy.http1._names cimport (
    CONNECTION, CONTENT_LENGTH, EXPECT, HOP_BY_HOP, HOST, NOT_SIMPLE, RESERVED, TRANSFER_ENCODING,
    UPGRADE, Names, fill_names,
)
from cmux_proxy.http1._section cimport Section, SectionLimits, is_consistent, read_section

from cmux_proxy.http1 import field_kinds, head

# From the kinds of field_kinds.py to those of _names.pxd.
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
    KNOWN_LINES = 256
    MAX_KNOWN_LINE = 128

cdef Py_ssize_t MAX_JOINED = head.MAX_JOINED
cdef bytes GET = b"GET"

fill_classes()


cdef class FastScan:
    """Reads heads within `limits`; `kinds` are the kinds of field names, `options` bits by name.

    `prefix` and `suffix` are those of ReservedFields. `new_head` makes a head, see `new_head.py`;
    `finder` is its first argument.
    """

    cdef Names _names
    cdef bytes _host
    # Reserved field lines that have come before, and what they say as a tuple of one field: peers
    # repeat them, and the router finds a value faster that it has seen as the same object.
    cdef list _known_lines, _known_fields
    cdef object _finder, _new_head
    cdef Py_ssize_t _start_line
    cdef SectionLimits _limits

    def __init__(
        self, kinds, options, limits, bytes prefix not None, bytes suffix not None, finder, new_head
    ):
        simple_kinds = {
            name: _SIMPLE_KINDS.get(kind, NOT_SIMPLE) for name, kind in kinds.items()
        }
        fill_names(&self._names, simple_kinds, dict(options), prefix, suffix)
        self._host = b""
        self._known_lines = [b""] * KNOWN_LINES
        self._known_fields = [()] * KNOWN_LINES
        self._start_line, self._limits.size, self._limits.fields = limits
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
        if not read_section(&self._names, self._limits, at + 11, last, &section):
            return None
        return self._new_head(
            self._finder,
            buffer,
            last - section.end,
            # One object for the usual method, so that its hash is computed once.
            GET if method.end - text == 3 and memcmp(text, b"GET", 3) == 0 else bytes_of(method),
            at[8] - 0x30,
            _without_cuts(buffer, &section, section.end),
            section.connection,
            None if section.length < 0 else section.length,
            bytes_or_none(section.values[TRANSFER_ENCODING]),
            bytes_or_none(section.values[UPGRADE]),
            self._host_of(section.values[HOST]),
            bytes_or_none(section.values[EXPECT]),
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
        at = value_end(at, last)
        if at[0] != 0x0D or at[1] != 0x0A or at + 2 - text > self._start_line:
            return None
        if not read_section(&self._names, self._limits, at + 2, last, &section):
            return None
        status = (text[9] - 0x30) * 100 + (text[10] - 0x30) * 10 + (text[11] - 0x30)
        if not is_consistent(status, text[7] - 0x30, &section):
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
            bytes_or_none(section.values[TRANSFER_ENCODING]),
            bytes_or_none(section.values[UPGRADE]),
        )

    cdef bytes _host_of(self, Slice value):
        """Return the value of Host: the last object if it is equal, because its hash is known."""
        cdef Py_ssize_t size
        if value.start == NULL:
            return None
        size = value.end - value.start
        if PyBytes_GET_SIZE(self._host) != size or memcmp(
            PyBytes_AS_STRING(self._host), value.start, size
        ):
            self._host = bytes_of(value)
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
        cdef int place = (eight_at(line.end - 8) * 0x9E3779B97F4A7C15ULL) >> 56
        cdef bytes known = self._known_lines[place]
        if PyBytes_GET_SIZE(known) == size and not memcmp(
            PyBytes_AS_STRING(known), line.start, size
        ):
            return self._known_fields[place]
        field = ((bytes_of(name).lower(), bytes_of(value)),)
        if size <= MAX_KNOWN_LINE:
            self._known_lines[place] = bytes_of(line)
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
