"""The proxy's own fields; how they are read is tested in `test_fields.py`."""

from cmux_proxy.http1.family import NO_FAMILY, Family
from cmux_proxy.http1.fields import names_of_interest


def test_a_family_has_no_further_members_unless_they_are_given() -> None:
    family = Family(b"x-", b"-y")
    assert (family.prefix, family.suffix, family.reported, family.cut) == (b"x-", b"-y", (), ())


def test_members_that_are_named_are_of_interest_and_others_are_not() -> None:
    named = names_of_interest(Family(b"x-", b"-y", (b"x-wish",), (b"x-token",)))
    plain = names_of_interest(Family(b"x-", b"-y"))
    assert named.keys() - plain.keys() == {b"x-wish", b"x-token"}
    assert named[b"x-wish"] != named[b"x-token"] == named[b"te"]


def test_an_answer_has_no_family_and_names_no_host() -> None:
    assert plain_names() - names_of_interest(NO_FAMILY).keys() == {b"host", b"expect"}


def plain_names() -> set[bytes]:
    return set(names_of_interest(Family(b"x-", b"")))
