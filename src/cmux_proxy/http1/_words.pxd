"""Words in any case: the names of fields and the options of Connection, eight bytes at once."""

from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport uint64_t
from libc.string cimport memcpy, memset

from cmux_proxy.http1._bytes cimport eight_at


cdef enum:
    MAX_WORD_SIZE = 64


cdef struct Word:
    Py_ssize_t size
    # A field's kind, or an option's bit.
    int number
    # What the word's last eight bytes are once `tail_fold` was put over them. Of a shorter word,
    # the bytes before it are all ones in both.
    uint64_t tail
    uint64_t tail_fold
    # In lower case, and 0x20 for each letter: put over a letter, it makes the letter lower-case.
    unsigned char[MAX_WORD_SIZE] text
    unsigned char[MAX_WORD_SIZE] fold


cdef inline Word word_of(bytes text, int number) except *:
    cdef Word word
    cdef unsigned char[8 + MAX_WORD_SIZE] ones
    cdef Py_ssize_t index
    word.size = len(text)
    word.number = number
    if word.size > MAX_WORD_SIZE or text != text.lower():
        raise ValueError("a word is too long, or not in lower case")
    memcpy(word.text, PyBytes_AS_STRING(text), word.size)
    for index in range(word.size):
        word.fold[index] = 0x20 if 0x61 <= word.text[index] <= 0x7A else 0
    memset(ones, 0xFF, 8)
    memcpy(ones + 8, word.text, word.size)
    word.tail = eight_at(ones + word.size)
    memcpy(ones + 8, word.fold, word.size)
    word.tail_fold = eight_at(ones + word.size)
    return word


cdef inline bint ends_with(const unsigned char* end, Word* word) noexcept:
    """Return whether the word ends at `end`; at least eight bytes are before that."""
    cdef const unsigned char* at = end - word.size
    cdef Py_ssize_t index = 0
    if eight_at(end - 8) | word.tail_fold != word.tail:
        return False
    while word.size - index > 8:
        if eight_at(at + index) | eight_at(word.fold + index) != eight_at(word.text + index):
            return False
        index += 8
    return True
