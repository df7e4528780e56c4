"""The table of flags, made of the fields of Config, and the way back: values of flags -> Config.

`click_options.py` makes the command's flags of it, `tools/docs` the pages.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Final, NamedTuple

import click

from cmux_proxy.config.option_types import OFF, ListType, type_of
from cmux_proxy.config.proxy_config import Config
from cmux_proxy.config.sections import TOKEN_VARIABLE, Access
from cmux_proxy.config.setting import Setting, setting_of
from cmux_proxy.config.token_file import Tokens
from cmux_proxy.config.validators import Mode, Number, Text, Unit
from cmux_proxy.errors import ConfigError

_KIB: Final = 1024


class Flag(NamedTuple):
    """One flag; `field` is the dotted name of the field of Config that it sets."""

    field: str
    setting: Setting
    default: object
    type: click.ParamType[Any]

    @property
    def name(self) -> str:
        """The flag without its dashes, which is its key in a file too."""
        return self.setting.flag

    @property
    def help(self) -> str:
        """What the flag does, in a sentence or a few."""
        return self.setting.help

    @property
    def variable(self) -> str:
        """The variable, which the flag overrides."""
        return "CMUX_" + self.name.upper().replace("-", "_")

    @property
    def parameter(self) -> str:
        """The name under which click passes the value."""
        return self.name.replace("-", "_")

    @property
    def is_list(self) -> bool:
        """Whether it may be repeated."""
        return isinstance(self.type, ListType)

    @property
    def metavar(self) -> str | None:
        """The name of the value in the help; None leaves it to click."""
        takes = self.setting.takes
        return takes.metavar if isinstance(takes, Text) else None

    @property
    def default_text(self) -> str:
        """The default as the help shows it."""
        takes, value = self.setting.takes, self.default
        if self.setting.default_text:
            return self.setting.default_text
        if value is None or value is False:
            return OFF
        if isinstance(value, tuple):
            return ",".join(value)
        if isinstance(takes, Mode):
            return f"{value:o}"
        unit = takes.unit if isinstance(takes, Number) else None
        if unit is Unit.SECONDS:
            return f"{value:g}s"
        return f"{value // _KIB}k" if unit is Unit.BYTES and isinstance(value, int) else str(value)


def _flags_of(section: Any, prefix: str = "") -> Iterator[Flag]:
    for entry in fields(section):
        default, setting = getattr(section, entry.name), setting_of(entry)
        if is_dataclass(default):
            yield from _flags_of(default, f"{entry.name}.")
        elif setting is not None and setting.flag:
            yield Flag(prefix + entry.name, setting, default, type_of(setting.takes))


FLAGS: Final = list(_flags_of(Config()))
# The flags under the headings of the help, both in the order of the fields.
GROUPS: Final[dict[str, list[Flag]]] = {}
for _flag in FLAGS:
    GROUPS.setdefault(_flag.setting.group, []).append(_flag)


def flag_of(field: str) -> Flag | None:
    """Return the flag that sets a field of Config, None if there is none."""
    return next((flag for flag in FLAGS if flag.field == field), None)


def config_from(values: Mapping[str, Any]) -> Config:
    """Return the configuration that the flags' values, by parameter, give; raise ConfigError."""
    by_section: dict[str, dict[str, Any]] = {}
    for flag in FLAGS:
        value = values[flag.parameter]
        if flag.is_list:
            value = [entry for entries in value for entry in entries]
        section, _, name = flag.field.rpartition(".")
        by_section.setdefault(section, {})[name] = value
    by_section["access"] |= _tokens_from(by_section["access"]["auth_token_file"])
    settings = by_section.pop("")
    defaults = Config()
    sections = {name: type(getattr(defaults, name))(**by_section[name]) for name in by_section}
    return Config(**settings, **sections)


def _tokens_from(file: Tokens | None) -> dict[str, object]:
    """Return the fields of Access that a file of tokens sets, or else the variable."""
    token = os.environ.get(TOKEN_VARIABLE, "")
    tokens: list[str] = file or ([token] if token else [])
    try:
        Access(tokens=tokens)
    except ConfigError as error:
        source = "access.auth_token_file" if file else TOKEN_VARIABLE
        raise ConfigError(source, error.reason) from None
    return {"tokens": tokens, "auth_token_file": file.path if file else None}
