"""Checks of single values: what they let pass, and how they name what they do not."""

from ipaddress import ip_address

import pytest

from cmux_proxy.config.validators import (
    check_boolean,
    check_choice,
    check_list,
    check_number,
    check_zone,
)
from cmux_proxy.errors import ConfigError


def test_a_number_is_checked_at_both_ends() -> None:
    for fine in (1, 2.5, 3):
        check_number("x", fine, 1, 3)
    for wrong in (0.99, 3.01):
        with pytest.raises(ConfigError, match="is not a number from 1 to 3"):
            check_number("x", wrong, 1, 3)


@pytest.mark.parametrize("wrong", [True, "1", None, float("nan"), float("inf")])
def test_a_number_is_finite_and_no_boolean(wrong: object) -> None:
    with pytest.raises(ConfigError, match="is not a number of at least 0"):
        check_number("x", wrong, 0)


def test_a_choice_is_one_of_its_words() -> None:
    check_choice("x", "b", ["a", "b"])
    for wrong in ("c", "", None, 1):
        with pytest.raises(ConfigError, match="is not one of a, b"):
            check_choice("x", wrong, ["a", "b"])


def test_a_boolean_is_nothing_that_is_as_good_as_one() -> None:
    check_boolean("x", True)
    for wrong in (1, "true", None):
        with pytest.raises(ConfigError, match="is neither True nor False"):
            check_boolean("x", wrong)


def test_a_list_is_of_strings_that_can_be_read() -> None:
    check_list("x", ["1", "2"], int)
    for wrong in ("12", [1], ["1", None]):
        with pytest.raises(ConfigError, match="needs a list of strings"):
            check_list("x", wrong, int)  # type: ignore[arg-type]
    with pytest.raises(ConfigError) as caught:
        check_list("x.y", ["1", "one"], int)
    assert caught.value.field == "x.y"
    assert "one" in caught.value.reason


@pytest.mark.parametrize("text", ["fe80::1%eth0", "fe80::1%2", "::1", "fd00::1", "169.254.0.1"])
def test_an_address_that_needs_no_zone_or_has_one_is_fine(text: str) -> None:
    check_zone("listen", ip_address(text))


def test_a_link_local_address_without_its_zone_is_an_error() -> None:
    with pytest.raises(ConfigError) as caught:
        check_zone("listen", ip_address("fe80::1"))
    assert caught.value.field == "listen"
    assert (
        caught.value.reason == "fe80::1 is link-local and needs its interface, as in fe80::1%eth0"
    )
