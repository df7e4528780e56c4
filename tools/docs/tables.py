"""The settings as tables in Markdown: flags for the command line, fields for programs."""

from collections.abc import Iterable, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, Final

import click

from cmux_proxy.cli import proxy_command as root
from cmux_proxy.config.options import Flag
from cmux_proxy.config.setting import Setting, setting_of
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

_UNITS: Final = {
    Unit.BYTES: "bytes",
    Unit.SECONDS: "seconds",
    Unit.ITEMS: "number",
    Unit.WORKERS: "whole number",
}


def flag_table(flags: Iterable[Flag]) -> str:
    """Return a table with a row per flag."""
    titles = ["flag", "variable", "default", "meaning"]
    return _table(titles, map(_flag_row, flags))


def field_table(section: Any) -> str:
    """Return a table with a row per field of a data class, an instance with the defaults."""
    titles = ["field", "flag", "takes", "default", "meaning"]
    return _table(titles, (_field_row(section, entry.name, entry) for entry in fields(section)))


def escaped(text: str) -> str:
    """Return a text in which no character has a meaning in Markdown."""
    return "".join(f"\\{char}" if char in "\\`*_[]<>|" else char for char in text)


def declared(context: click.Context, option: click.Parameter) -> str:
    """Return a flag with the name of its value, as code in a cell of a table."""
    names = ", ".join(option.opts)
    is_switch = isinstance(option, click.Option) and (option.is_flag or option.count)
    text = names if is_switch else f"{names} {option.make_metavar(context)}"
    # A bar would end the cell, also within code.
    return f"`{text}`".replace("|", "\\|")


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def _flag_row(flag: Flag) -> list[str]:
    option = next(option for option in root.params if option.name == flag.parameter)
    text = declared(click.Context(root), option)
    return [text, f"`{flag.variable}`", escaped(flag.default_text), escaped(flag.help)]


def _field_row(section: Any, name: str, entry: Any) -> list[str]:
    value, setting = getattr(section, name), setting_of(entry)
    if is_dataclass(value):
        class_name = type(value).__name__
        meaning = (type(value).__doc__ or "").partition("\n")[0]
        link = f"[`{class_name}`](#{class_name.lower()})"
        return [f"`{name}`", "", link, f"`{class_name}()`", escaped(meaning)]
    if setting is None:
        owner = f"{type(section).__module__}.{type(section).__name__}"
        raise LookupError(f"{owner}.{name} has no help: declare it with option(...)")
    flag = f"`--{setting.flag}`" if setting.flag else ""
    return [f"`{name}`", flag, _taken(setting), _default(setting, value), escaped(setting.help)]


def _default(setting: Setting, value: object) -> str:
    is_mode = isinstance(setting.takes, Mode) and isinstance(value, int)
    return f"`0o{value:o}`" if is_mode else f"`{value!r}`"


def _taken(setting: Setting) -> str:
    takes = setting.takes
    may_be_none = getattr(takes, "may_be_none", isinstance(takes, FileName))
    return escaped(_type_text(takes)) + (", or None" if may_be_none else "")


def _type_text(takes: Validator) -> str:
    match takes:
        case Number():
            return f"{_UNITS[takes.unit]}, {takes.bounds.removeprefix('of ')}"
        case Choice():
            return ", ".join(f'"{choice}"' for choice in takes.choices)
        case Entries():
            return "list of strings"
        case Switch():
            return "boolean"
        case Mode():
            return "mode"
        case FileName():
            return "path"
        case Text():
            return "string"
    raise TypeError(f"tools/docs/tables.py has no words for {takes!r}: add a case to _type_text")
