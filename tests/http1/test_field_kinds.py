"""Which fields are of interest, to requests and to responses."""

from cmux_proxy.http1.field_kinds import KIND_HOP_BY_HOP, KIND_TE, names_of_interest
from cmux_proxy.http1.reserved_fields import NO_FAMILY, ReservedFields


def test_members_that_are_named_are_of_interest_and_others_are_not() -> None:
    named = names_of_interest(ReservedFields(b"x-", b"-y", (b"x-wish",), (b"x-token",)))
    plain = names_of_interest(ReservedFields(b"x-", b"-y"))
    assert named.keys() - plain.keys() == {b"x-wish", b"x-token"}
    assert named[b"x-wish"] != named[b"x-token"] == named[b"keep-alive"]


def test_a_response_has_no_family_and_names_no_host() -> None:
    only_asked = plain_names().keys() - names_of_interest(NO_FAMILY).keys()
    assert only_asked == {b"host", b"expect", b"http2-settings"}


def test_te_is_renewed_in_requests_and_cut_in_responses() -> None:
    assert plain_names()[b"te"] == KIND_TE
    assert names_of_interest(NO_FAMILY)[b"te"] == KIND_HOP_BY_HOP


def plain_names() -> dict[bytes, int]:
    return names_of_interest(ReservedFields(b"x-", b""))
