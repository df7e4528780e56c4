"""The Expect field: how its lines are joined, and which expectations are refused."""

import pytest

from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.expectation import add_expectations, check_expectation
from cmux_proxy.http1.head import RequestHead
from tests.helpers.judging import request_head


def request(*values: bytes, version: bytes = b"1.1") -> RequestHead:
    fields = b"".join(b"Expect:" + value + b"\r\n" for value in values)
    return request_head(b"GET / HTTP/%b\r\n%b\r\n" % (version, fields))


@pytest.mark.parametrize("value", [b"100-continue", b"100-CONTINUE", b" 100-continue\t"])
def test_100_continue_is_accepted_in_any_case(value: bytes) -> None:
    check_expectation(request(value))
    check_expectation(request())


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([b""], None),
        ([b" ,\t,"], None),
        ([b"", b""], None),
        ([b"100-Continue"], b"100-Continue"),
        ([b"", b"100-continue"], b"100-continue"),
        ([b"100-continue", b"100-CONTINUE", b""], b"100-continue"),
        ([b"100-continue,100-continue"], b"100-continue"),
        ([b"100-continue, x"], b"100-continue, x"),
        ([b"x", b"100-continue"], b"x, 100-continue"),
        ([b"a b"], b"a b"),
    ],
)
def test_a_repeated_expectation_counts_once_and_an_empty_one_does_not_count(
    values: list[bytes], expected: bytes | None
) -> None:
    assert request(*values).expect == expected


def test_members_are_added_to_those_of_earlier_lines() -> None:
    assert add_expectations(None, b",a , A,b") == b"a, b"
    assert add_expectations(b"a", b"A") == b"a"
    assert add_expectations(b"a", b"b") == b"a, b"


@pytest.mark.parametrize("value", [b"200-ok", b"100-continue, x", b"100-continue;a=b", b";", b'""'])
def test_any_other_expectation_is_refused(value: bytes) -> None:
    with pytest.raises(BadMessage) as caught:
        check_expectation(request(value))
    assert caught.value.status == 417
    assert caught.value.reason == "only the expectation 100-continue is supported"


def test_an_expectation_of_http10_is_ignored() -> None:
    check_expectation(request(b"x", version=b"1.0"))
