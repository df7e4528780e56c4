"""Settings: a field with its flag, declared in one entry and checked by it."""

from dataclasses import dataclass, fields

import pytest

from cmux_proxy.config.setting import option, read_settings, setting_of
from cmux_proxy.config.validators import Number, Text, Unit
from cmux_proxy.errors import ConfigError


@dataclass(frozen=True)
class Section:
    size: int = option(2, Number(Unit.BYTES, 1), "size", "Size.", group="Sizes", example=3)
    secret: str = option("a", Text("A", str.upper), "", "Secret.", group="Sizes", is_secret=True)
    other: int = 1

    def __post_init__(self) -> None:
        read_settings(self, "section.")


def test_a_setting_has_a_default_and_is_stored_as_it_is_read() -> None:
    assert (Section().size, Section().secret, Section(secret="b").secret) == (2, "A", "B")


def test_a_setting_that_cannot_be_used_is_named_with_its_section() -> None:
    with pytest.raises(ConfigError) as caught:
        Section(size=0)
    assert str(caught.value) == "section.size: 0 is not a number of at least 1"


def test_a_field_carries_its_flag_and_its_help() -> None:
    size, secret, other = map(setting_of, fields(Section))
    assert size is not None
    assert (size.flag, size.help, size.group, size.example) == ("size", "Size.", "Sizes", 3)
    assert secret is not None
    assert secret.flag == ""
    assert other is None


def test_a_secret_is_not_shown() -> None:
    assert repr(Section()).endswith("Section(size=2, other=1)")
