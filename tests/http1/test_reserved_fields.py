"""The proxy's own fields; `test_fields.py` tests how they are read."""

from cmux_proxy.http1.reserved_fields import NO_RESERVED_FIELDS, ReservedFields


def test_only_prefix_and_suffix_reserve_names_by_default() -> None:
    reserved = ReservedFields(b"x-", b"-y")
    assert (reserved.prefix, reserved.suffix) == (b"x-", b"-y")
    assert (reserved.names, reserved.cut_only) == ((), ())


def test_without_reserved_fields_there_are_no_names() -> None:
    reserved = NO_RESERVED_FIELDS
    assert (reserved.prefix, reserved.suffix) == (b"", b"")
    assert (reserved.names, reserved.cut_only) == ((), ())
