# Constants and numbers, written at a cursor; each function returns the cursor behind them, and the
# caller has made room. Part of _fast_lines.pyx.

from libc.math cimport signbit
from libc.string cimport memcpy, strlen


cdef inline char *put(char *to, const char *text) noexcept:
    """Write a C string whose length the compiler knows."""
    cdef Py_ssize_t length = strlen(text)
    memcpy(to, text, length)
    return to + length


cdef inline char *put_bytes(char *to, bytes data) noexcept:
    """Write all bytes."""
    memcpy(to, <const char *>data, len(data))
    return to + len(data)


cdef inline char *put_digits(char *to, unsigned long long number, int count) noexcept:
    """Write the last `count` digits."""
    cdef int at
    for at in range(count - 1, -1, -1):
        to[at] = 48 + <char>(number % 10)
        number //= 10
    return to + count


cdef inline char *put_number(char *to, unsigned long long number) noexcept:
    """Write all digits."""
    cdef unsigned long long limit = 10
    cdef int count = 1
    while number >= limit and count < 20:
        limit *= 10
        count += 1
    return put_digits(to, number, count)


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
    return put_digits(put(put_number(to, units // 10000), "."), units % 10000, 4)


cdef inline char *put_float(char *to, double number) except NULL:
    """Write a number rounded to six digits after the point, as short as repr does."""
    cdef long long units = scale(number, 1e6)
    if units < 100 and units != 0:
        # Python has to round, or the number gets an exponent.
        return put_bytes(to, repr(round(<object>number, 6)).encode("ascii"))
    to = put_digits(put(put_number(to, units // 1000000), "."), units % 1000000, 6)
    cdef int zeros = 0
    while zeros < 5 and to[-1] == 48:
        to -= 1
        zeros += 1
    return to
