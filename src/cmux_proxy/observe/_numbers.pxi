# Constants and numbers, written at a cursor; each function returns the cursor behind them, and the
# caller has made room. Part of _fast_lines.pyx.

from libc.math cimport signbit
from libc.string cimport memcpy, strlen

# The numbers from 00 to 99, because a division by 100 gives two digits for the price of one.
cdef const char *PAIRS = (
    b"00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445"
    b"46474849505152535455565758596061626364656667686970717273747576777879808182838485868788899091"
    b"9293949596979899"
)


cdef inline char *put(char *to, const char *text) noexcept:
    """Write a C string whose length the compiler knows."""
    cdef Py_ssize_t length = strlen(text)
    memcpy(to, text, length)
    return to + length


cdef inline char *put_bytes(char *to, bytes data) noexcept:
    """Write all bytes."""
    memcpy(to, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
    return to + PyBytes_GET_SIZE(data)


cdef inline char *put_pair(char *to, unsigned int number) noexcept:
    """Write two digits of a number below 100."""
    memcpy(to, PAIRS + 2 * number, 2)
    return to + 2


cdef inline char *put_three(char *to, unsigned int number) noexcept:
    """Write three digits of a number below 1000."""
    to[0] = 48 + <char>(number // 100)
    return put_pair(to + 1, number % 100)


cdef inline char *put_four(char *to, unsigned int number) noexcept:
    """Write four digits of a number below 10000."""
    return put_pair(put_pair(to, number // 100), number % 100)


cdef char *put_large(char *to, unsigned long long number) noexcept:
    """Write all digits of a number from 1000 on, from the last one to the first."""
    cdef char[20] digits
    cdef int at = 20
    while number >= 100:
        at -= 2
        put_pair(digits + at, number % 100)
        number //= 100
    at -= 2
    put_pair(digits + at, number)
    at += number < 10
    memcpy(to, digits + at, 20 - at)
    return to + 20 - at


cdef inline char *put_number(char *to, unsigned long long number) noexcept:
    """Write all digits."""
    if number < 10:
        to[0] = 48 + <char>number
        return to + 1
    if number < 100:
        return put_pair(to, number)
    return put_three(to, number) if number < 1000 else put_large(to, number)


cdef inline long long scale(double number, double factor) noexcept:
    """Return a number in units of 1/factor, rounded to the nearest; -1 where Python has to round.

    That is where the product, itself rounded, lies halfway between two units: everywhere else its
    error is too small to move it past the middle.
    """
    cdef double product = number * factor
    if not product < 1e15 or signbit(number):
        return -1
    cdef long long whole = <long long>product
    cdef double rest = product - <double>whole
    return -1 if rest == 0.5 else whole + (rest > 0.5)


cdef inline char *put_fixed(char *to, double number) except NULL:
    """Write a number with four digits after the point."""
    cdef long long units = scale(number, 1e4)
    if units < 0:
        return put_bytes(to, f"{number:.4f}".encode("ascii"))
    return put_four(put(put_number(to, units // 10000), "."), units % 10000)


cdef char *put_exponent(char *to, unsigned int units) noexcept:
    """Write less than 100 millionths as repr does: 5e-06, 1e-05, 1.2e-05."""
    cdef unsigned int first = units if units < 10 else units // 10
    to[0] = 48 + <char>first
    to += 1
    if units >= 10 and units % 10:
        to = put_number(put(to, "."), units % 10)
    return put(to, "e-06" if units < 10 else "e-05")


cdef inline char *put_float(char *to, double number) except NULL:
    """Write a number rounded to six digits after the point, as short as repr does."""
    cdef long long units = scale(number, 1e6)
    cdef unsigned int part
    if units < 0:
        return put_bytes(to, repr(round(<object>number, 6)).encode("ascii"))
    if 0 < units < 100:
        return put_exponent(to, units)
    part = units % 1000000
    to = put(put_number(to, units // 1000000), ".")
    to = put_pair(put_four(to, part // 100), part % 100)
    cdef int zeros = 0
    while zeros < 5 and to[-1] == 48:
        to -= 1
        zeros += 1
    return to
