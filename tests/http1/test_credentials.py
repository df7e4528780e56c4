"""Tokens in Authorization and Proxy-Authorization, and their comparison."""

import hmac

import pytest

from cmux_proxy.http1.credentials import is_one_of, token_of


@pytest.mark.parametrize(
    ("value", "token"),
    [
        (b"Bearer abc", b"abc"),
        (b"bEARER   abc ", b"abc"),
        (b"Basic dXNlcjphYmM=", b"abc"),
        (b"basic OmFiYw==", b"abc"),
        (b"Basic dXNlcjphOmI=", b"a:b"),
        (b"Basic dXNlcg==", b""),
        (b"Basic abc", b""),
        (b"Basic dXNlcjph-YmM=", b""),
        (b"Digest abc", b""),
        (b"abc", b""),
        (b"", b""),
    ],
)
def test_the_token_is_that_of_a_bearer_or_the_password_of_a_basic(
    value: bytes, token: bytes
) -> None:
    assert token_of(value) == token


def test_a_token_is_compared_with_all_and_takes_as_long_whatever_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared: list[bytes] = []

    def compare(given: bytes, token: bytes) -> bool:
        compared.append(token)
        return given == token

    monkeypatch.setattr(hmac, "compare_digest", compare)
    assert is_one_of(b"a", [b"a", b"b", b"c"])
    assert compared == [b"a", b"b", b"c"]
