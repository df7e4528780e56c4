"""What a field of a configuration takes: its type, its bounds, and what it stores.

Each `read(name, value)` returns what the field stores, and raises ConfigError, which names the
field. Command line, file and documentation take bounds from here. Does not know click.
"""

import math
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, Final, NamedTuple, Protocol

from cmux_proxy.errors import ConfigError

MAX_MODE: Final = 0o777


class Validator(Protocol):
    """What every field has."""

    def read(self, name: str, value: Any) -> object:
        """Return what the field stores; raise ConfigError."""


class Unit(Enum):
    """What a number counts."""

    BYTES = "bytes"
    SECONDS = "seconds"
    ITEMS = "items"
    WORKERS = "workers"


class Number(NamedTuple):
    """A finite number from `minimum` to `maximum`; or None, for no limit, if `may_be_none`."""

    unit: Unit
    minimum: float = 0
    maximum: float = math.inf
    may_be_none: bool = False
    excludes_minimum: bool = False
    is_whole: bool = False

    @property
    def bounds(self) -> str:
        """The bounds, as "of at least 1", "above 0" or "from 0 to 0.01"."""
        if self.excludes_minimum:
            return f"above {self.minimum}"
        if self.maximum == math.inf:
            return f"of at least {self.minimum}"
        return f"from {self.minimum} to {self.maximum}"

    def read(self, name: str, value: Any) -> object:
        """Return the number."""
        if (value is None and self.may_be_none) or self._includes(value):
            return value
        number = "a whole number" if self.is_whole else "a number"
        raise ConfigError(name, f"{value!r} is not {number} {self.bounds}")

    def _includes(self, value: Any) -> bool:
        if not isinstance(value, int if self.is_whole else int | float) or isinstance(value, bool):
            return False
        if self.excludes_minimum and value == self.minimum:
            return False
        return self.minimum <= value <= self.maximum and value < math.inf


class Switch(NamedTuple):
    """True or False."""

    def read(self, name: str, value: Any) -> object:
        """Return the boolean."""
        if type(value) is not bool:
            raise ConfigError(name, f"{value!r} is neither True nor False")
        return value


class Choice(NamedTuple):
    """One of some words."""

    choices: tuple[str, ...]

    def read(self, name: str, value: Any) -> object:
        """Return the word."""
        if value not in self.choices:
            raise ConfigError(name, f"{value!r} is not one of {', '.join(self.choices)}")
        return value


class Text(NamedTuple):
    """A string, of which the field stores what `parse` returns; `metavar` names it in the help."""

    metavar: str
    parse: Callable[[str], str]
    may_be_none: bool = True

    def read(self, name: str, value: Any) -> object:
        """Return the string, or None."""
        if value is None and self.may_be_none:
            return None
        if not isinstance(value, str):
            raise ConfigError(name, f"{value!r} is not a string")
        return _parsed(name, value, self.parse)


class FileName(NamedTuple):
    """The path of a file, or None; `has_tokens` if the command reads tokens from it."""

    has_tokens: bool = False

    def read(self, name: str, value: Any) -> object:
        """Return the path, or None."""
        if value is not None and not isinstance(value, str):
            raise ConfigError(name, "needs a path, as a string")
        return value


class Mode(NamedTuple):
    """The permissions of a file, such as 0o660; or None if `may_be_none`."""

    may_be_none: bool = False

    def read(self, name: str, value: Any) -> object:
        """Return the permissions, or None."""
        if value is None and self.may_be_none:
            return None
        if type(value) is not int or not 0 <= value <= MAX_MODE:
            raise ConfigError(name, f"{value!r} is not a mode from 0 to 0o{MAX_MODE:o}")
        return value


class Entries(NamedTuple):
    """Strings that `parse` accepts; `metavar` names them in the help.

    The field stores a tuple of the strings, or of what `parse` returns if `stores_parsed`.
    """

    metavar: str
    parse: Callable[[str], object]
    stores_parsed: bool = False
    is_required: bool = False

    def read(self, name: str, value: Sequence[str]) -> object:
        """Return the strings."""
        if self.is_required and (not value or isinstance(value, str)):
            entry = self.metavar.lower()
            raise ConfigError(name, f"needs at least one {entry}, as a list of strings")
        if isinstance(value, str) or not all(isinstance(text, str) for text in value):
            raise ConfigError(name, "needs a list of strings")
        parsed = tuple(_parsed(name, text, self.parse) for text in value)
        return parsed if self.stores_parsed else tuple(value)


def _parsed(name: str, text: str, parse: Callable[[str], object]) -> object:
    try:
        return parse(text)
    except ValueError as error:
        raise ConfigError(name, str(error)) from None
