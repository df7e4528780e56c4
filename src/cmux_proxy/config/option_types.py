"""What the values of flags look like: durations, sizes, counts, lists; text -> what Config takes.

Each raises click's usage error with one clause that names the value. `numbers` of a kind are the
types of TOML, besides strings, that a file may have for it.
"""

import os
import re
from collections.abc import Callable
from typing import Any, Final, TypeVar

import click
from click.shell_completion import CompletionItem

from cmux_proxy.config.proxy_config import MAX_BUSY_POLL
from cmux_proxy.config.token_file import Tokens, read_tokens
from cmux_proxy.errors import ConfigError

OFF: Final = "off"

_DURATION = re.compile(r"(?P<number>[0-9]{1,9}(?:\.[0-9]{1,9})?)(?P<unit>us|ms|s|m|h|)", re.ASCII)
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}
_SIZE = re.compile(r"(?P<number>[0-9]{1,12})(?P<unit>|k|kib|m|mib)", re.ASCII | re.IGNORECASE)
_BYTES = {"": 1, "k": 1024, "m": 1024 * 1024}

T = TypeVar("T")


class Duration(click.ParamType[float | None]):
    """A time, in seconds where no unit is given; with `may_be_off`, off or 0 is none at all."""

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


class BusyPoll(click.ParamType[float]):
    """A very short time with its unit, in seconds; only 0 needs no unit."""

    name = "DURATION"
    numbers = (int, float)

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
        if seconds > MAX_BUSY_POLL:
            self.fail(f"{value!r} is more than {MAX_BUSY_POLL * 1000:g}ms", param, ctx)
        return seconds


class Size(click.ParamType[int]):
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


class Count(click.ParamType[int | None]):
    """A whole number of at least 1; with `may_be_off`, off is no limit."""

    name = "N"
    numbers = (int,)

    def __init__(self, may_be_off: bool = False) -> None:
        self._may_be_off = may_be_off

    def convert(
        self, value: str | int, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | None:
        """Read "1000"."""
        text = str(value).strip()
        if self._may_be_off and text == OFF:
            return None
        if not re.fullmatch(r"0{0,9}[1-9][0-9]{0,8}", text, re.ASCII):
            off = " or off" if self._may_be_off else ""
            self.fail(f"{text!r} is not a whole number of at least 1{off}", param, ctx)
        return int(text)


class Mode(click.ParamType[int]):
    """The permissions of a file."""

    name = "MODE"

    def convert(
        self, value: str | int, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Read "660" or "0660", in octal digits; a default is a mode already."""
        if isinstance(value, int):
            return value
        text = value
        if not re.fullmatch(r"0?[0-7]{3}", text, re.ASCII):
            self.fail(f"{text!r} is not a mode such as 660", param, ctx)
        return int(text, 8)


class WorkerCount(click.ParamType[int]):
    """A number of processes, or as many as there are CPUs."""

    name = "COUNT"
    numbers = (int,)

    def convert(
        self, value: str | int, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Read "4" or "auto"."""
        text = str(value)
        if text == "auto":
            return _usable_cpus()
        if not re.fullmatch(r"0{0,9}[1-9][0-9]{0,5}", text, re.ASCII):
            self.fail(f"{text!r} is neither a whole number of at least 1 nor auto", param, ctx)
        return int(text)


def _usable_cpus() -> int:
    """Return how many CPUs this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class List(click.ParamType[list[str]]):
    """Entries with commas between them, in a variable too; `parse` raises for what is no entry."""

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
            except ConfigError as error:
                self.fail(error.reason, param, ctx)
            except ValueError as error:
                self.fail(str(error), param, ctx)
        return texts


class FileToRead(click.ParamType[T]):
    """A file of which something is made."""

    name = "FILE"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem[Any]]:
        """Leave it to the shell, which knows the files."""
        return [CompletionItem(incomplete, type="file")]


class TokenFile(FileToRead[Tokens]):
    """A file with a token in each line; several are for the time of a change."""

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
