"""Values of flags: durations, sizes, counts, lists; text -> what Config takes.

A type raises click's usage error with one clause that names the value. Its `numbers` are the types
that a TOML file may have for it besides strings. Bounds come from the fields.
"""

import os
import re
from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from cmux_proxy.config.token_file import Tokens, read_tokens
from cmux_proxy.config.validators import (
    Choice,
    Entries,
    FileName,
    Mode,
    Number,
    Switch,
    Text,
    Unit,
    Validator,
)

T = TypeVar("T")
OFF: Final = "off"

_DURATION = re.compile(r"(?P<number>[0-9]{1,9}(?:\.[0-9]{1,9})?)(?P<unit>us|ms|s|m|h|)", re.ASCII)
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}
_SIZE = re.compile(r"(?P<number>[0-9]{1,12})(?P<unit>|k|kib|m|mib)", re.ASCII | re.IGNORECASE)
_BYTES = {"": 1, "k": 1024, "m": 1024 * 1024}
_COUNT = re.compile(r"0{0,9}[0-9]{1,9}", re.ASCII)


class DurationType(click.ParamType[float | None]):
    """A time, in seconds if it has no unit; with `may_be_off`, "off" and 0 are None."""

    name = "DURATION"
    numbers = (int, float)

    def __init__(self, may_be_off: bool = False) -> None:
        self._may_be_off = may_be_off

    def convert(
        self, value: str | float, param: click.Parameter | None, ctx: click.Context | None
    ) -> float | None:
        """Read "15", "15s", "500ms", "2m" or "1h"."""
        if not isinstance(value, str):
            return value
        text = value.strip()
        match = _DURATION.fullmatch(text)
        if match is None and not (self._may_be_off and text == OFF):
            self.fail(f"{value!r} is not a duration such as 15s or 500ms", param, ctx)
        seconds = 0.0 if match is None else float(match["number"]) * _SECONDS[match["unit"]]
        return None if self._may_be_off and not seconds else seconds


class ShortDurationType(click.ParamType[float]):
    """A time far below a second, of at most `maximum` seconds; only 0 needs no unit."""

    name = "DURATION"
    numbers = (int, float)

    def __init__(self, maximum: float) -> None:
        self._maximum = maximum

    def convert(
        self, value: str | float, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Read "50us" or "1ms"."""
        if not isinstance(value, str):
            return value
        match = _DURATION.fullmatch(value.strip())
        if match is None or match["unit"] in ("m", "h"):
            self.fail(f"{value!r} is not a duration such as 50us or 1ms", param, ctx)
        seconds = float(match["number"]) * _SECONDS[match["unit"]]
        if seconds and not match["unit"]:
            self.fail(f"{value!r} needs a unit: us, ms or s", param, ctx)
        if seconds > self._maximum:
            self.fail(f"{value!r} is more than {self._maximum * 1000:g}ms", param, ctx)
        return seconds


class SizeType(click.ParamType[int]):
    """A number of bytes."""

    name = "SIZE"
    numbers = (int,)

    def convert(
        self, value: str | int, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Read "16384", "16k" or "16KiB"; also with m, for 1024 times as much."""
        match = _SIZE.fullmatch(str(value).strip())
        if match is None:
            self.fail(f"{value!r} is not a size such as 16384 or 16k", param, ctx)
        return int(match["number"]) * _BYTES[match["unit"].lower()[:1]]


class CountType(click.ParamType[int | None]):
    """A whole number of at least `minimum`; with `may_be_off`, "off" is no limit."""

    name = "N"
    numbers = (int,)

    def __init__(self, minimum: float = 1, may_be_off: bool = False) -> None:
        self._minimum = minimum
        self._may_be_off = may_be_off

    def convert(
        self, value: str | int, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | None:
        """Read "1000"."""
        text = str(value).strip()
        if self._may_be_off and text == OFF:
            return None
        if not _COUNT.fullmatch(text) or int(text) < self._minimum:
            off = " or off" if self._may_be_off else ""
            self.fail(
                f"{text!r} is not a whole number of at least {self._minimum}{off}", param, ctx
            )
        return int(text)


class ModeType(click.ParamType[int]):
    """The permissions of a file."""

    name = "MODE"

    def convert(
        self, value: str | int, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Read "660" or "0660", in octal digits; a default is a mode already."""
        if isinstance(value, int):
            return value
        if not re.fullmatch(r"0?[0-7]{3}", value, re.ASCII):
            self.fail(f"{value!r} is not a mode such as 660", param, ctx)
        return int(value, 8)


class WorkerCountType(click.ParamType[int]):
    """A number of processes; "auto" is the number of usable CPUs."""

    name = "N|auto"
    numbers = (int,)

    def convert(
        self, value: str | int, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Read "4" or "auto"."""
        if (text := str(value)) == "auto":
            return _usable_cpus()
        if not re.fullmatch(r"0{0,9}[1-9][0-9]{0,5}", text, re.ASCII):
            self.fail(f"{text!r} is neither a whole number of at least 1 nor auto", param, ctx)
        return int(text)


def _usable_cpus() -> int:
    """Return the number of CPUs that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class ListType(click.ParamType[list[str]]):
    """Entries separated by commas, in a variable too; `parse` raises ValueError for a bad one."""

    envvar_list_splitter = ","
    numbers = (int,)

    def __init__(self, name: str, parse: Callable[[str], object]) -> None:
        self.name = name
        self._parse = parse

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[str]:
        """Return the entries, as texts."""
        texts = [text.strip() for text in value.split(",")]
        for text in texts:
            try:
                self._parse(text)
            except ValueError as error:
                self.fail(str(error), param, ctx)
        return texts


class FileType(click.ParamType[T]):
    """A file that is read; shells complete its name."""

    name = "FILE"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[Any]:
        """Leave the completion to the shell, which knows the files."""
        from click.shell_completion import CompletionItem

        return [CompletionItem(incomplete, type="file")]


class TokenFileType(FileType[Tokens]):
    """A file with one token per line; several allow for a change of tokens."""

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> Tokens:
        """Return the tokens."""
        try:
            return read_tokens(value)
        except OSError as error:
            self.fail(f"{value!r} cannot be read: {error.strerror}", param, ctx)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def type_of(takes: Validator) -> click.ParamType[Any]:
    """Return how the command line reads what a field takes."""
    match takes:
        case Number():
            return _number_type(takes)
        case Switch():
            return click.BOOL
        case Choice():
            return click.Choice(takes.choices)
        case Mode():
            return ModeType()
        case Entries():
            return ListType(takes.metavar, takes.parse)
        case FileName():
            return TokenFileType() if takes.has_tokens else click.Path(dir_okay=False)
        case Text():
            return click.STRING
    raise TypeError(f"option_types.type_of has no type for {takes!r}: add a case")


def _number_type(takes: Number) -> click.ParamType[Any]:
    match takes.unit:
        case Unit.BYTES:
            return SizeType()
        case Unit.ITEMS:
            return CountType(takes.minimum, takes.may_be_none)
        case Unit.WORKERS:
            return WorkerCountType()
        case Unit.SECONDS if takes.maximum < 1:
            return ShortDurationType(takes.maximum)
        case Unit.SECONDS:
            return DurationType(takes.may_be_none)
