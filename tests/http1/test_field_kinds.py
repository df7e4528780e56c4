"""Which fields matter in requests and in responses."""

from cmux_proxy.http1 import field_kinds
from cmux_proxy.http1.field_kinds import (
    KIND_HOP_BY_HOP,
    KIND_TE,
    request_field_kinds,
    response_field_kinds,
)
from cmux_proxy.http1.reserved_fields import NO_RESERVED_FIELDS, ReservedFields

REQUEST = request_field_kinds(ReservedFields(b"x-", b"-y"))


def test_the_kinds_have_different_numbers() -> None:
    numbers = [number for name, number in vars(field_kinds).items() if name.startswith("KIND_")]
    assert sorted(numbers) == list(range(10))


def test_reserved_names_are_of_interest_and_other_names_are_not() -> None:
    kinds = request_field_kinds(ReservedFields(b"x-", b"-y", (b"x-wait",), (b"x-token",)))
    assert kinds.keys() - REQUEST.keys() == {b"x-wait", b"x-token"}
    assert kinds[b"x-wait"] != kinds[b"x-token"] == kinds[b"keep-alive"]


def test_a_response_has_no_host_and_no_expectation() -> None:
    only_in_requests = REQUEST.keys() - response_field_kinds().keys()
    assert only_in_requests == {b"host", b"expect", b"http2-settings"}


def test_a_request_without_reserved_fields_is_still_a_request() -> None:
    assert request_field_kinds(NO_RESERVED_FIELDS) == REQUEST


def test_te_is_renewed_in_requests_and_cut_in_responses() -> None:
    assert REQUEST[b"te"] == KIND_TE
    assert response_field_kinds()[b"te"] == KIND_HOP_BY_HOP
