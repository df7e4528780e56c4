"""The table of flags -> examples/cmux-proxy.toml, a file for --config with commented entries."""

import json
import textwrap
from typing import Final

import click

from cmux_proxy.config.options import GROUPS, Flag

_WIDTH: Final = 98
_HEAD: Final = """\
# Flags of cmux-proxy: cmux-proxy --config cmux-proxy.toml
#
# A key is a flag without its dashes. A line "#key = value" shows the default or, if that has no
# value, an example; remove the "#" to set the key. Flags and CMUX_ variables override the file."""


def example() -> str:
    """Return the text of the file."""
    lines = [_HEAD]
    for title, flags in GROUPS.items():
        lines.append(f"\n# {title}\n")
        lines += [_entry(flag) for flag in flags]
    return "\n".join(lines)


def _entry(flag: Flag) -> str:
    text = textwrap.fill(flag.help, _WIDTH - 2, break_long_words=False)
    # For these values TOML is written like JSON.
    return textwrap.indent(text, "# ") + f"\n#{flag.name} = {json.dumps(_value(flag))}\n"


def _value(flag: Flag) -> object:
    default = flag.default
    if flag.setting.example is not None:
        return flag.setting.example
    if isinstance(default, bool):
        return default
    if isinstance(default, tuple) and default:
        return list(default)
    text = flag.default_text
    if default == () or (default is None and not _is_none(flag, text)):
        raise LookupError(
            f"--{flag.name} has a default without a value: give its option(...) an example"
        )
    return int(text) if text.isdigit() and hasattr(flag.type, "numbers") else text


def _is_none(flag: Flag, text: str) -> bool:
    """Return whether the flag reads a text as None."""
    try:
        return flag.type.convert(text, None, None) is None
    except click.BadParameter:
        return False
