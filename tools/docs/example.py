"""The table of flags -> examples/cmux-proxy.toml, a file for --config in which all is commented."""

import json
import textwrap
from typing import Final

import click

from cmux_proxy.config.options import GROUPS, Flag, default_of, shown_default

_WIDTH: Final = 98
_HEAD: Final = """\
# Flags of cmux-proxy: cmux-proxy --config cmux-proxy.toml
#
# A key is a flag without its dashes. What follows "#key" is the default or, where that could not be
# written down, an example; take the "#" away to set it. Flags and CMUX_ variables beat it."""

# For flags whose default is nothing that one could write.
_EXAMPLES: Final[dict[str, object]] = {
    "unix-mode": "660",
    "upstream-host": "127.0.0.1",
    "workspace-host": "{workspace}.example",
    "host-suffix": ["example.dev"],
    "trusted-proxy": ["10.0.0.0/8"],
    "auth-token-file": "/etc/cmux-proxy/tokens",
    "allow-port": ["3000", "5000-5999"],
    "deny-port": [22],
    "allow-host": ["app.example", "*.example"],
    "allow-client": ["127.0.0.1", "10.0.0.0/8"],
    "max-clients": 1000,
    "max-idle-upstream-connections": 1000,
    "access-log-file": "/var/log/cmux-proxy.log",
    "admin": "127.0.0.1:9179",
    "admin-unix-mode": "600",
    "otlp": "http://127.0.0.1:4318",
    "busy-poll": 0,
}


def example() -> str:
    """Return the file."""
    lines = [_HEAD]
    for title, flags in GROUPS.items():
        lines.append(f"\n# {title}\n")
        lines += [_entry(flag) for flag in flags]
    return "\n".join(lines)


def _entry(flag: Flag) -> str:
    text = textwrap.fill(flag.help, _WIDTH - 2, break_long_words=False)
    return textwrap.indent(text, "# ") + f"\n#{flag.name} = {_written(_value(flag))}\n"


def _value(flag: Flag) -> object:
    default = default_of(flag)
    if flag.name in _EXAMPLES:
        return _EXAMPLES[flag.name]
    if isinstance(default, bool):
        return default
    if isinstance(default, tuple) and default:
        return list(default)
    shown = shown_default(flag)
    if default == () or (default is None and not _means_nothing(flag, shown)):
        raise LookupError(f"an example for {flag.name} is missing in tools/docs/example.py")
    return int(shown) if shown.isdigit() else shown


def _means_nothing(flag: Flag, shown: str) -> bool:
    """Return whether one may write what the help shows of a default that is None."""
    try:
        return flag.kind.convert(shown, None, None) is None
    except click.BadParameter:
        return False


def _written(value: object) -> str:
    """Return a value as TOML has it, which for these is as JSON has it."""
    return json.dumps(value)
