"""The proxy's own fields; how they are read is tested in `test_fields.py`."""

from cmux_proxy.http1.reserved_fields import NO_FAMILY, ReservedFields


def test_a_family_has_no_further_members_unless_they_are_given() -> None:
    family = ReservedFields(b"x-", b"-y")
    assert (family.prefix, family.suffix, family.reported, family.cut) == (b"x-", b"-y", (), ())


def test_no_family_has_no_members() -> None:
    family = NO_FAMILY
    assert (family.prefix, family.suffix, family.reported, family.cut) == (b"", b"", (), ())
