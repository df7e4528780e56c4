"""A file of flags: TOML whose keys are the names of flags -> defaults for click.

Knows how TOML writes the values of flags; their types check what they may be.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

from cmux_proxy.config.environment import is_read
from cmux_proxy.config.option_types import FileType
from cmux_proxy.config.options import FLAGS, Flag

_FLAGS: Final = {flag.name: flag for flag in FLAGS}
_CONTAINERS: Final[dict[type, str]] = {list: "an array", dict: "a table"}


class FileValues(dict[str, Any]):
    """The values in a file, by the parameters of their flags; `path` is the file's."""

    def __init__(self, path: str, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self.path = path


class ConfigFileType(FileType[FileValues]):
    """A file of flags."""

    def split_envvar_value(self, rv: str) -> Sequence[str]:
        """Return a variable as one path, which may have blanks."""
        return [rv]

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> FileValues:
        """Read the file, and check every value here, where its key is known."""
        import tomllib

        try:
            with open(value, encoding="utf-8-sig", newline="") as file:
                table = tomllib.loads(file.read())
        except OSError as error:
            self.fail(f"{value!r} cannot be read: {error.strerror}", param, ctx)
        except UnicodeDecodeError:
            self.fail(f"{value!r} is not TOML: it has bytes that are not UTF-8", param, ctx)
        except tomllib.TOMLDecodeError as error:
            self.fail(f"{value!r} is not TOML: {error}", param, ctx)
        except ValueError:
            self.fail(f"{value!r} is not TOML: it has a number with too many digits", param, ctx)
        except RecursionError:
            self.fail(f"{value!r} is not TOML: it is nested too deeply", param, ctx)
        flags = {key: _flag_of(key, value) for key in table}
        values = {
            flag.parameter: _checked(flag, table[key], value)
            for key, flag in flags.items()
            if is_read(ctx, flag.parameter)
        }
        return FileValues(value, values)


def use_file(
    context: click.Context, parameter: click.Parameter, files: Sequence[FileValues]
) -> None:
    """Let the file's values override the defaults; flags and variables override them."""
    if len(files) > 1:
        paths = " and ".join(repr(file.path) for file in files)
        raise click.BadParameter(f"there can be one file, not {paths}", context, parameter)
    for file in files:
        context.default_map = file


def bad_value(flag: Flag, reason: str, path: str) -> click.UsageError:
    """Return the error that names a file and a key in it."""
    return click.UsageError(f"Invalid value for {flag.name!r} in {path!r}: {reason}")


def _flag_of(key: str, path: str) -> Flag:
    if key in _FLAGS:
        return _FLAGS[key]
    import difflib

    close = difflib.get_close_matches(key.replace("_", "-").lower(), _FLAGS, n=1)
    remedy = (
        f"did you mean {close[0]!r}?"
        if close
        else "keys are flags without their dashes, which cmux-proxy --help lists"
    )
    raise click.UsageError(f"Unknown key {key!r} in {path!r}: {remedy}")


def _checked(flag: Flag, value: object, path: str) -> object:
    """Return a value in the form that click takes; raise click's usage error for a bad one."""
    if isinstance(flag.default, bool):
        if isinstance(value, bool):
            return value
        raise bad_value(flag, f"{_shown(value)} is not true or false", path)
    values = value if flag.is_list and isinstance(value, list) else [value]
    texts = [_text(flag, entry, path) for entry in values]
    return texts if flag.is_list else texts[0]


def _text(flag: Flag, value: object, path: str) -> str:
    """Return a value as it is written on the command line."""
    numbers = getattr(flag.type, "numbers", ())
    if type(value) not in (str, *numbers):
        number = "a number" if float in numbers else "an integer"
        types = " or ".join(["a string", *([number] if numbers else [])])
        expected = f"an array of strings, or {types}" if flag.is_list else types
        raise bad_value(flag, f"{_shown(value)} is not {expected}", path)
    try:
        flag.type.convert(str(value), None, None)
    except click.BadParameter as error:
        raise bad_value(flag, error.message, path) from None
    except ValueError as error:
        # A path with a zero byte, or a number with too many digits.
        raise bad_value(flag, str(error), path) from None
    return str(value)


def _shown(value: object) -> str:
    """Return a value as the file has it; only the type of an array or a table."""
    if isinstance(value, bool | str):
        return str(value).lower() if isinstance(value, bool) else repr(value)
    return _CONTAINERS.get(type(value), str(value))
