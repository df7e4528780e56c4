"""The form of the Date field, beside the standard library's."""

from email.utils import formatdate
from time import gmtime

from hypothesis import given
from hypothesis import strategies as st

from cmux_proxy.http1.imf_fixdate import imf_fixdate


def test_it_is_the_example_of_the_rfc() -> None:
    assert imf_fixdate((1994, 11, 6, 8, 49, 37, 6, 310, 0)) == b"Sun, 06 Nov 1994 08:49:37 GMT"


@given(st.integers(0, 253_402_300_799))
def test_any_second_until_the_year_9999_is_what_the_standard_library_makes(second: int) -> None:
    assert imf_fixdate(gmtime(second)) == formatdate(second, usegmt=True).encode()
