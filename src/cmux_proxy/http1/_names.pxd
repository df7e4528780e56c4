"""The names of fields of interest with their kinds, and the options of Connection with their bits."""

from cmux_proxy.http1._words cimport MAX_WORD_SIZE, Word, ends_with, word_of

# The kinds of simple fields, numbered for the fast scan alone; a C array is indexed by them.
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

cdef enum:
    MAX_WORDS = 24


cdef struct Names:
    # Sorted by length, and the index of the first name of each length, because most names differ
    # in length. A word without text marks the end.
    Word[MAX_WORDS + 1] fields
    unsigned char[MAX_WORD_SIZE + 1] first
    Word[MAX_WORDS + 1] options
    # Of the reserved fields; an empty prefix if there are none.
    Word prefix
    Word suffix


cdef inline int fill_names(
    Names* names, dict kinds, dict options, bytes prefix, bytes suffix
) except -1:
    """Take the kinds by name, the bits by option, and what reserved names begin and end with."""
    cdef int index
    cdef list sorted_names = sorted(kinds, key=len)
    cdef list sorted_options = list(options)
    if max(len(sorted_names), len(sorted_options)) > MAX_WORDS:
        raise ValueError("too many words")
    for index in range(MAX_WORD_SIZE + 1):
        names.first[index] = len(sorted_names)
    for index in reversed(range(len(sorted_names))):
        names.fields[index] = word_of(sorted_names[index], kinds[sorted_names[index]])
        names.first[len(sorted_names[index])] = index
    names.fields[len(sorted_names)] = word_of(b"", -1)
    for index in range(len(sorted_options)):
        names.options[index] = word_of(sorted_options[index], options[sorted_options[index]])
    names.options[len(sorted_options)] = word_of(b"", 0)
    names.prefix = word_of(prefix, RESERVED)
    names.suffix = word_of(suffix, RESERVED)
    return 0


cdef inline int kind_of(Names* names, const unsigned char* name, Py_ssize_t size) noexcept:
    """Return the kind of a name, -1 if it is of no interest."""
    cdef const unsigned char* end = name + size
    cdef Word* word
    if size <= MAX_WORD_SIZE:
        word = &names.fields[names.first[size]]
        while word.size == size:
            if ends_with(end, word):
                return word.number
            word += 1
    if names.prefix.size == 0 or size < names.prefix.size or size < names.suffix.size:
        return -1
    if not ends_with(name + names.prefix.size, &names.prefix):
        return -1
    return RESERVED if ends_with(end, &names.suffix) else -1


cdef inline int option_of(Names* names, const unsigned char* value, Py_ssize_t size) noexcept:
    """Return the bit of a Connection value that is one known option, 0 for any other value."""
    cdef Word* word = &names.options[0]
    while word.size:
        if word.size == size and ends_with(value + size, word):
            return word.number
        word += 1
    return 0
