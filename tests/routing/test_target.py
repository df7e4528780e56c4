"""Target: equality, and its form in a Host field."""

import pytest

from cmux_proxy.routing.target import Target


@pytest.mark.parametrize(
    ("host", "authority"),
    [("127.0.0.1", "127.0.0.1:80"), ("::1", "[::1]:80"), ("a.example", "a.example:80")],
)
def test_an_ipv6_address_is_in_brackets(host: str, authority: str) -> None:
    assert Target(host, 80).authority() == authority


@pytest.mark.parametrize(
    ("scheme", "has_tls", "is_http2", "of_urls"),
    [
        ("http", False, False, "http"), ("https", True, False, "https"),
        ("h2c", False, True, "http"), ("h2", True, True, "https"),
    ],
)  # fmt: skip
def test_a_scheme_says_two_things(scheme: str, has_tls: bool, is_http2: bool, of_urls: str) -> None:
    target = Target("a", 1, scheme)
    assert (target.has_tls(), target.is_http2(), target.url_scheme()) == (
        has_tls, is_http2, of_urls,
    )  # fmt: skip


def test_equal_targets_are_the_same_key() -> None:
    assert Target("a", 1) == Target("a", 1)
    assert Target("a", 1) != Target("a", 1, "https")
    assert {Target("a", 1), Target("a", 1), Target("a", 2), Target("b", 1)} == (
        {Target("a", 1), Target("a", 2), Target("b", 1)}
    )
