"""Checks of single values: what they accept and store, and how they name what they refuse."""

from typing import Any

import pytest

from cmux_proxy.config.validators import Choice, Entries, FileName, Mode, Number, Switch, Text, Unit
from cmux_proxy.errors import ConfigError


def test_a_number_is_checked_at_both_ends() -> None:
    number = Number(Unit.ITEMS, 1, 3)
    for value in (1, 2.5, 3):
        assert number.read("x", value) == value
    for wrong in (0.99, 3.01):
        with pytest.raises(ConfigError, match="is not a number from 1 to 3"):
            number.read("x", wrong)


@pytest.mark.parametrize("wrong", [True, "1", None, float("nan"), float("inf")])
def test_a_number_is_finite_and_no_boolean(wrong: object) -> None:
    with pytest.raises(ConfigError, match="is not a number of at least 0"):
        Number(Unit.SECONDS).read("x", wrong)


def test_a_number_may_be_none_or_exclude_its_minimum() -> None:
    assert Number(Unit.SECONDS, may_be_none=True).read("x", None) is None
    above = Number(Unit.SECONDS, excludes_minimum=True)
    assert above.read("x", 0.001) == 0.001
    with pytest.raises(ConfigError, match="0 is not a number above 0"):
        above.read("x", 0)


def test_a_whole_number_is_no_float() -> None:
    number = Number(Unit.WORKERS, 1, is_whole=True)
    assert number.read("x", 2) == 2
    with pytest.raises(ConfigError, match=r"2\.0 is not a whole number of at least 1"):
        number.read("x", 2.0)


def test_a_choice_is_one_of_its_words() -> None:
    choice = Choice(("a", "b"))
    assert choice.read("x", "b") == "b"
    for wrong in ("c", "", None, 1):
        with pytest.raises(ConfigError, match="is not one of a, b"):
            choice.read("x", wrong)


def test_a_switch_is_a_boolean_and_nothing_that_counts_as_one() -> None:
    assert Switch().read("x", True) is True
    for wrong in (1, "true", None):
        with pytest.raises(ConfigError, match="is neither True nor False"):
            Switch().read("x", wrong)


def test_entries_are_strings_that_can_be_read() -> None:
    entries = Entries("NUMBER", int)
    assert entries.read("x", ["1", "2"]) == ("1", "2")
    wrong: Any
    for wrong in ("12", [1], ["1", None]):
        with pytest.raises(ConfigError, match="needs a list of strings"):
            entries.read("x", wrong)
    with pytest.raises(ConfigError) as caught:
        entries.read("x.y", ["1", "one"])
    assert caught.value.field == "x.y"
    assert "one" in caught.value.reason


def test_entries_may_be_stored_as_they_are_read_and_may_be_required() -> None:
    assert Entries("NUMBER", int, stores_parsed=True).read("x", ["01"]) == (1,)
    wrong: Any
    for wrong in ([], "1"):
        with pytest.raises(ConfigError, match="needs at least one number, as a list of strings"):
            Entries("NUMBER", int, is_required=True).read("x", wrong)


def test_a_text_is_stored_as_it_is_read() -> None:
    assert Text("HOST", str.lower).read("x", "A") == "a"
    assert Text("HOST", str.lower).read("x", None) is None
    with pytest.raises(ConfigError, match="None is not a string"):
        Text("HOST", str.lower, may_be_none=False).read("x", None)


def test_a_file_name_is_a_path_or_none() -> None:
    assert FileName().read("x", "a") == "a"
    assert FileName().read("x", None) is None
    with pytest.raises(ConfigError, match="needs a path, as a string"):
        FileName().read("x", 1)


def test_a_mode_has_nine_bits() -> None:
    assert Mode().read("x", 0o777) == 0o777
    assert Mode(may_be_none=True).read("x", None) is None
    for wrong in (0o1000, -1, True, "600", None):
        with pytest.raises(ConfigError, match="is not a mode from 0 to 0o777"):
            Mode().read("x", wrong)
