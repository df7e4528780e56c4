"""Reads the header section of a simple head: values of single fields, reserved fields, and cuts.

Neighbours: `_names.pxd` has the names, `_fast_scan.pyx` the start lines and the results.
"""

from libc.string cimport memchr

from cmux_proxy.http1._bytes cimport (
    CLASSES, DIGIT, HOST_LITERAL, HOST_NAME, TCHAR, Slice, is_blank, value_end,
)
from cmux_proxy.http1._names cimport (
    CONNECTION, CONTENT_LENGTH, EXPECT, HOP_BY_HOP, HOST, NOT_SIMPLE, RESERVED, TRANSFER_ENCODING,
    UPGRADE, Names, kind_of, option_of,
)

cdef enum:
    MAX_CUTS = 16
    MAX_RESERVED = 4
    MAX_DIGITS = 18


cdef struct SectionLimits:
    # In bytes, and in field lines.
    Py_ssize_t size
    Py_ssize_t fields


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


cdef inline bint _is_host(const unsigned char* at, const unsigned char* end) noexcept:
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


cdef inline bint _add_field(
    Names* names,
    int kind,
    Slice name,
    Slice value,
    const unsigned char* line_end,
    Section* section,
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
        section.connection = option_of(names, value.start, value.end - value.start)
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


cdef inline bint read_section(
    Names* names,
    SectionLimits limits,
    const unsigned char* text,
    const unsigned char* last,
    Section* section,
) noexcept:
    """Read the header section at `text`; return whether all of it is simple and within limits."""
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
        at = value_end(at + 1, last)
        if at[0] != 0x0D or at[1] != 0x0A:
            return False
        at += 2
        lines += 1
        kind = kind_of(names, name.start, name.end - name.start)
        if kind < 0:
            continue
        if kind > HOP_BY_HOP:
            if seen >> kind & 1:
                return False
            seen |= 1 << kind
        value.start = name.end + 1
        value.end = at - 2
        while value.start < value.end and is_blank(value.start):
            value.start += 1
        while value.start < value.end and is_blank(value.end - 1):
            value.end -= 1
        if not _add_field(names, kind, name, value, at, section):
            return False
    section.end = at + 2
    return at[1] == 0x0A and section.end - text <= limits.size and lines <= limits.fields


cdef inline bint is_consistent(int status, int minor, Section* section) noexcept:
    """Return whether the full scan accepts a response with these framing fields."""
    cdef bint is_coded = section.values[TRANSFER_ENCODING].start != NULL
    if is_coded and (section.length >= 0 or minor == 0):
        return False
    return (status >= 200 and status != 204) or not (is_coded or section.length >= 0)
