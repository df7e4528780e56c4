"""A time as an IMF-fixdate, the form of the Date field (RFC 9110 section 5.6.7).

The standard library's `email.utils` does the same, but loads twelve more modules for it. Knows no
clock.
"""

from typing import Final

_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = (
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
)  # fmt: skip


def imf_fixdate(at: tuple[int, ...]) -> bytes:
    """Return a time, given as the fields of `time.gmtime()`; English whatever the locale is."""
    year, month, day, hour, minute, second, weekday = at[:7]
    date = f"{_DAYS[weekday]}, {day:02} {_MONTHS[month - 1]} {year:04}"
    return f"{date} {hour:02}:{minute:02}:{second:02} GMT".encode("ascii")
