"""Target: equality, and its form in a Host field."""

import pytest

from cmux_proxy.routing.target import Target


@pytest.mark.parametrize(
    ("host", "authority"),
    [("127.0.0.1", "127.0.0.1:80"), ("::1", "[::1]:80"), ("a.example", "a.example:80")],
)
def test_an_ipv6_address_is_in_brackets(host: str, authority: str) -> None:
    assert Target(host, 80).authority() == authority


def test_equal_targets_are_the_same_key() -> None:
    assert Target("a", 1) == Target("a", 1)
    assert Target("a", 1) != Target("a", 1, "https")
    assert {Target("a", 1), Target("a", 1), Target("a", 2), Target("b", 1)} == (
        {Target("a", 1), Target("a", 2), Target("b", 1)}
    )
