"""A setting: a field of a configuration together with its flag, its help and what it takes.

`option` declares one in a data class; everything about a flag is in that one entry. Does not know
click: programs that embed the proxy do not load it.
"""

from dataclasses import Field, field, fields
from typing import Any, Final, NamedTuple

from cmux_proxy.config.validators import Validator

_SETTING: Final = "cmux_proxy.setting"


class Setting(NamedTuple):
    """What a field takes, and how users see it; without a `flag` only programs set it.

    `group` is the heading in the help. `default_text` describes a default that is not a value, and
    `example` is a value for the example file in this case.
    """

    takes: Validator
    flag: str
    help: str
    group: str
    default_text: str
    example: object


def option(
    default: object,
    takes: Validator,
    flag: str,
    help: str,
    *,
    group: str,
    default_text: str = "",
    example: object = None,
    is_secret: bool = False,
) -> Any:
    """Return a field of a data class that is a setting; a secret is not shown in `repr`."""
    setting = Setting(takes, flag, help, group, default_text, example)
    return field(default=default, repr=not is_secret, metadata={_SETTING: setting})


def setting_of(entry: Field[Any]) -> Setting | None:
    """Return the setting that a field is, None if it is a section."""
    return entry.metadata.get(_SETTING)


def read_settings(section: Any, prefix: str) -> None:
    """Check all settings of a frozen data class, and store what they are read as.

    Raises ConfigError, which names the first one that cannot be used by `prefix` and its name.
    """
    for entry in fields(section):
        setting = setting_of(entry)
        if setting is not None:
            value = setting.takes.read(prefix + entry.name, getattr(section, entry.name))
            object.__setattr__(section, entry.name, value)
