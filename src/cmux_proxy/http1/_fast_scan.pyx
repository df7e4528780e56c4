# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=False
"""The facts of heads that say nothing unusual, in one pass over their bytes.

Compiled builds only. `scan.py` and `fields.py` are the rule, and this is a shortcut to the very
same facts: None, for a head that is incomplete, malformed, past a limit or merely not simple,
means that they have to look. Not simple is a field of interest that comes twice, a Connection that
is not one known option, a Host with an escape, a Transfer-Encoding with white space that is not
the usual, an Expect that is not one member, TE and HTTP2-Settings. So no head is refused here, and every byte of one that is taken has been looked up in a
table of classes.

Nothing is read past a length that was checked: a bytes object ends in a NUL byte, which belongs to
no class, so that every loop over a class stops there at the latest.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint64_t
from libc.string cimport memchr, memcmp, memcpy

cdef enum:
    TCHAR = 1
    TARGET = 2
    VALUE = 4
    HOST_NAME = 8
    HOST_LITERAL = 16
    DIGIT = 32

# The kinds of fields.py.
cdef enum:
    REPORTED = 0
    HOP_BY_HOP = 1
    HOST = 2
    EXPECT = 3
    CONNECTION = 4
    CONTENT_LENGTH = 5
    TRANSFER_ENCODING = 6
    UPGRADE = 7
    # From here on, none is simple.
    KINDS = 8

cdef enum:
    MOST_WORDS = 24
    LONGEST = 63
    MOST_CUTS = 16
    MOST_REPORTED = 4
    MOST_DIGITS = 18

cdef unsigned char[256] CLASSES
cdef unsigned char[256] LOWER
cdef bytes GET = b"GET"


cdef void _fill_tables() noexcept:
    cdef int byte
    cdef bytes others = b"!#$%&'*+-.^_`|~"
    cdef bytes in_host = b"-._~!$&'()*+;="
    for byte in range(256):
        CLASSES[byte] = 0
        LOWER[byte] = <unsigned char>byte
        if 0x41 <= byte <= 0x5A:
            LOWER[byte] = <unsigned char>(byte + 0x20)
        if 0x30 <= byte <= 0x39:
            CLASSES[byte] |= TCHAR | HOST_NAME | HOST_LITERAL | DIGIT
        if 0x41 <= byte <= 0x5A or 0x61 <= byte <= 0x7A:
            CLASSES[byte] |= TCHAR | HOST_NAME
        if 0x61 <= LOWER[byte] <= 0x66 or byte in b".:":
            CLASSES[byte] |= HOST_LITERAL
        if byte in others:
            CLASSES[byte] |= TCHAR
        if byte in in_host:
            CLASSES[byte] |= HOST_NAME
        if 0x21 <= byte <= 0x7E and byte != 0x23:
            CLASSES[byte] |= TARGET
        if byte == 0x09 or 0x20 <= byte <= 0x7E or byte >= 0x80:
            CLASSES[byte] |= VALUE


_fill_tables()


cdef bint _is_host(const unsigned char* at, const unsigned char* end) noexcept:
    """Return whether a value is a host and an optional port, for all hosts without an escape."""
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
    """Return the number that up to eighteen digits tell, -1 for anything else."""
    cdef long long number = 0
    if at == end or end - at > MOST_DIGITS:
        return -1
    while at < end:
        if not CLASSES[at[0]] & DIGIT:
            return -1
        number = number * 10 + (at[0] - 0x30)
        at += 1
    return number


cdef inline const unsigned char* _value_end(
    const unsigned char* at, const unsigned char* last
) noexcept:
    """Return the first byte that no field value has; `last` is the buffer's NUL byte."""
    cdef uint64_t eight, del_or_zero
    # Eight bytes at a time, as long as none is a control byte or DEL: a byte below 0x20 borrows
    # from its highest bit, as does 0x7F when it is turned into 0.
    while last - at >= 8:
        memcpy(&eight, at, 8)
        del_or_zero = eight ^ 0x7F7F7F7F7F7F7F7FULL
        if (
            ((eight - 0x2020202020202020ULL) & ~eight)
            | ((del_or_zero - 0x0101010101010101ULL) & ~del_or_zero)
        ) & 0x8080808080808080ULL:
            break
        at += 8
    while CLASSES[at[0]] & VALUE:
        at += 1
    return at


cdef inline bint _is_blank(const unsigned char* at) noexcept:
    return at[0] == 0x20 or at[0] == 0x09


cdef struct Word:
    # In lower case; the bytes belong to a bytes object that outlives it.
    const unsigned char* text
    Py_ssize_t size
    # A field's kind, or an option's bit.
    int means


cdef inline Word _word(bytes text, int means) noexcept:
    return Word(<const unsigned char*>PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text), means)


cdef inline bint _is_word(const unsigned char* at, Word* word) noexcept:
    """Return whether the bytes there are the word, in any case."""
    cdef Py_ssize_t index = 0
    while index < word.size and LOWER[at[index]] == word.text[index]:
        index += 1
    return index == word.size


cdef struct Piece:
    const unsigned char* start
    const unsigned char* end


cdef inline bint _is_bare(
    const unsigned char* start, Piece value, const unsigned char* end
) noexcept:
    """Return whether nothing but blanks stands before a value, and nothing behind it."""
    while start < value.start:
        if start[0] != 0x20:
            return False
        start += 1
    return value.end == end


cdef inline bytes _bytes(Piece piece):
    return PyBytes_FromStringAndSize(<const char*>piece.start, piece.end - piece.start)


cdef inline bytes _bytes_or_none(Piece piece):
    return None if piece.start == NULL else _bytes(piece)


cdef inline bint _is_one_member(Piece value) noexcept:
    """Return whether a value is a list of one member."""
    cdef Py_ssize_t size = value.end - value.start
    return size != 0 and memchr(value.start, 0x2C, size) == NULL


cdef struct Section:
    # Where it ends, the bits of Connection, the number that Content-Length gives, or -1.
    const unsigned char* end
    int connection
    long long length
    # The values of the other single fields by their kinds; NULL for those that are not there.
    Piece[KINDS] values
    int reported
    Piece[MOST_REPORTED] names
    Piece[MOST_REPORTED] reports
    int cuts
    Piece[MOST_CUTS] lines


cdef class FastScan:
    """Takes the heads that `limits` allow; `kinds` are the field names of interest.

    `prefix` and `suffix` are those of the family of fields to report, in lower case; without a
    prefix there is none.
    """

    # The owners of the words' bytes.
    cdef list _texts
    # By length, and where in the array the first of each length stands: most names are told apart
    # by their length alone. Behind the last one stands a word of no length.
    cdef Word[MOST_WORDS + 1] _names
    cdef unsigned char[LONGEST + 1] _first
    cdef Word[MOST_WORDS + 1] _options
    cdef Word _prefix, _suffix
    cdef bytes _name, _host
    cdef Py_ssize_t _start_line, _section, _fields

    def __init__(self, kinds, options, limits, bytes prefix not None, bytes suffix not None):
        cdef int index
        names = sorted(kinds, key=len)
        if max(len(names), len(options)) > MOST_WORDS or len(names[len(names) - 1]) > LONGEST:
            raise ValueError("too many words, or too long")
        self._texts = [*names, *options, prefix, suffix]
        for index in range(LONGEST + 1):
            self._first[index] = len(names)
        for index in reversed(range(len(names))):
            self._names[index] = _word(names[index], kinds[names[index]])
            self._first[len(names[index])] = index
        self._names[len(names)] = _word(b"", -1)
        for index, option in enumerate(options):
            self._options[index] = _word(option, options[option])
        self._options[len(options)] = _word(b"", 0)
        self._name = b""
        self._host = b""
        self._prefix = _word(prefix, REPORTED)
        self._suffix = _word(suffix, REPORTED)
        self._start_line, self._section, self._fields = limits

    def request(self, bytes buffer not None):
        """Return RequestFacts, or None."""
        cdef const unsigned char* text = <const unsigned char*>PyBytes_AS_STRING(buffer)
        cdef const unsigned char* last = text + PyBytes_GET_SIZE(buffer)
        cdef const unsigned char* at = text
        cdef Piece method, target
        cdef Section found
        method.start = at
        while CLASSES[at[0]] & TCHAR:
            at += 1
        method.end = at
        if at == text or at[0] != 0x20:
            return None
        at += 1
        target.start = at
        while CLASSES[at[0]] & TARGET:
            at += 1
        target.end = at
        if at == target.start or last - at < 11 or memcmp(at, b" HTTP/1.", 8) != 0:
            return None
        if at[8] != 0x30 and at[8] != 0x31:
            return None
        if at[9] != 0x0D or at[10] != 0x0A or at + 11 - text > self._start_line:
            return None
        if not self._read(at + 11, last, &found):
            return None
        return (
            # One object for the usual one, whose hash is known.
            GET if method.end - text == 3 and memcmp(text, b"GET", 3) == 0 else _bytes(method),
            _bytes(target),
            at[8] - 0x30,
            at + 11 - text,
            found.end - text,
            _plain(buffer, &found),
            found.connection,
            None if found.length < 0 else found.length,
            _bytes_or_none(found.values[TRANSFER_ENCODING]),
            _bytes_or_none(found.values[UPGRADE]),
            self._host_of(found.values[HOST]),
            _bytes_or_none(found.values[EXPECT]),
            self._reported(&found),
        )

    def response(self, bytes buffer not None):
        """Return ResponseFacts, or None."""
        cdef const unsigned char* text = <const unsigned char*>PyBytes_AS_STRING(buffer)
        cdef const unsigned char* last = text + PyBytes_GET_SIZE(buffer)
        cdef const unsigned char* at = text + 12
        cdef Section found
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
        if not self._read(at + 2, last, &found):
            return None
        return (
            (text[9] - 0x30) * 100 + (text[10] - 0x30) * 10 + (text[11] - 0x30),
            text[7] - 0x30,
            at + 2 - text,
            found.end - text,
            _plain(buffer, &found),
            found.connection,
            None if found.length < 0 else found.length,
            _bytes_or_none(found.values[TRANSFER_ENCODING]),
            _bytes_or_none(found.values[UPGRADE]),
        )

    cdef bint _read(
        self, const unsigned char* text, const unsigned char* last, Section* found
    ) noexcept:
        """Read the header section at `text`; return whether all of it is simple."""
        cdef const unsigned char* at = text
        cdef Piece name, value
        cdef int kind, seen = 0, lines = 0
        found.connection = found.reported = found.cuts = 0
        found.length = -1
        for kind in range(KINDS):
            found.values[kind].start = NULL
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
            if not self._note(kind, name, value, at, found):
                return False
        found.end = at + 2
        return at[1] == 0x0A and found.end - text <= self._section and lines <= self._fields

    cdef bint _note(
        self, int kind, Piece name, Piece value, const unsigned char* line_end, Section* found
    ) noexcept:
        """Take note of a field of interest; return whether it is simple."""
        if kind == HOST or kind == EXPECT or kind == TRANSFER_ENCODING:
            found.values[kind] = value
            if kind == TRANSFER_ENCODING:
                return _is_bare(name.end + 1, value, line_end - 2)
            if kind == EXPECT:
                return _is_one_member(value)
            return _is_host(value.start, value.end)
        if kind == CONTENT_LENGTH:
            found.length = _number(value.start, value.end)
            return found.length >= 0
        if found.cuts == MOST_CUTS:
            return False
        found.lines[found.cuts].start = name.start
        found.lines[found.cuts].end = line_end
        found.cuts += 1
        if kind == CONNECTION:
            found.connection = self._option(value.start, value.end - value.start)
            return found.connection != 0
        if kind == UPGRADE:
            found.values[kind] = value
        elif kind == REPORTED:
            if found.reported == MOST_REPORTED:
                return False
            found.names[found.reported] = name
            found.reports[found.reported] = value
            found.reported += 1
        elif kind >= KINDS:
            return False
        return True

    cdef int _kind(self, const unsigned char* name, Py_ssize_t size) noexcept:
        """Return the kind of a name, -1 when it is of no interest."""
        cdef Word* word
        if size <= LONGEST:
            word = &self._names[self._first[size]]
            while word.size == size:
                if _is_word(name, word):
                    return word.means
                word += 1
        if self._prefix.size == 0 or size < self._prefix.size or size < self._suffix.size:
            return -1
        if not _is_word(name, &self._prefix):
            return -1
        return REPORTED if _is_word(name + size - self._suffix.size, &self._suffix) else -1

    cdef int _option(self, const unsigned char* value, Py_ssize_t size) noexcept:
        """Return the bit of the one option that a Connection value is, 0 for any other value."""
        cdef Word* word = &self._options[0]
        while word.size:
            if word.size == size and _is_word(value, word):
                return word.means
            word += 1
        return 0

    cdef bytes _host_of(self, Piece value):
        """Return the value of Host: one object for those that are alike, whose hash is known."""
        cdef Py_ssize_t size
        if value.start == NULL:
            return None
        size = value.end - value.start
        if PyBytes_GET_SIZE(self._host) != size or memcmp(
            PyBytes_AS_STRING(self._host), value.start, size
        ):
            self._host = _bytes(value)
        return self._host

    cdef tuple _reported(self, Section* found):
        """Return the fields of the family that were found."""
        cdef Word known
        cdef Piece name
        cdef int index
        cdef tuple fields = ()
        for index in range(found.reported):
            name = found.names[index]
            known = _word(self._name, REPORTED)
            if known.size != name.end - name.start or not _is_word(name.start, &known):
                # Mostly it is the same name, so the last one is kept as an object.
                self._name = _bytes(name).lower()
            field = (self._name, _bytes(found.reports[index]))
            if found.reported == 1:
                return (field,)
            fields += (field,)
        return fields


cdef bytes _plain(bytes buffer, Section* found):
    """Return the head without the lines to cut."""
    cdef const unsigned char* at = <const unsigned char*>PyBytes_AS_STRING(buffer)
    cdef Py_ssize_t size = found.end - at
    cdef int index
    cdef char* to
    cdef bytes made
    if found.cuts == 0 and size == PyBytes_GET_SIZE(buffer):
        return buffer
    for index in range(found.cuts):
        size -= found.lines[index].end - found.lines[index].start
    made = PyBytes_FromStringAndSize(NULL, size)
    to = PyBytes_AS_STRING(made)
    for index in range(found.cuts):
        size = found.lines[index].start - at
        memcpy(to, at, size)
        to += size
        at = found.lines[index].end
    memcpy(to, at, found.end - at)
    return made
