"""The flags of the server as click has them: the table of `options.py`, and --config."""

from collections.abc import Callable
from typing import Any, Final

import click

from cmux_proxy.config.config_file import ConfigFileType, use_file
from cmux_proxy.config.environment import CONFIG_VARIABLE, ServerOption
from cmux_proxy.config.options import FLAGS, GROUPS, Flag

_OTHER: Final = "Other"


def server_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add all flags of the server to a command."""
    function = click.option(
        "--config",
        cls=ServerOption,
        type=ConfigFileType(),
        multiple=True,
        is_eager=True,
        expose_value=False,
        callback=use_file,
        envvar=CONFIG_VARIABLE,
        show_envvar=True,
        help='TOML file with flags: listen = ["127.0.0.1:8080"].',
    )(function)
    for flag in reversed(FLAGS):
        function = _option(flag)(function)
    return function


def _option(flag: Flag) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    default = flag.default
    return click.option(
        f"--{flag.name}",
        cls=ServerOption,
        type=flag.type,
        is_flag=isinstance(default, bool),
        multiple=flag.is_list,
        default=(list(default) or None) if isinstance(default, tuple) else default,
        envvar=flag.variable,
        show_envvar=True,
        show_default=flag.default_text,
        metavar=flag.metavar,
        help=flag.help,
    )


def write_groups(
    formatter: click.HelpFormatter, records: dict[str | None, tuple[str, str] | None]
) -> None:
    """Write the help of all parameters, one section per group; `records` are by parameter."""
    groups = {title: [flag.parameter for flag in flags] for title, flags in GROUPS.items()}
    grouped = {name for names in groups.values() for name in names}
    groups[_OTHER] = [name for name in records if name is not None and name not in grouped]
    for title, names in groups.items():
        with formatter.section(title):
            formatter.write_dl([record for name in names if (record := records[name])])
