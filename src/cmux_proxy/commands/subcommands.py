"""The subcommands by their names. The file of one is imported when it is used first.

So a start of the proxy, or of one subcommand, loads nothing that only the others need. Does not
know what a subcommand does.
"""

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Final

import click

# The file of each is its name with underscores; there it is called `<file>_command`.
_NAMES: Final = (
    "completion",
    "connect",
    "doctor",
    "forward",
    "healthcheck",
    "ports",
    "run",
    "trust",
    "wait",
    "workspace-ip",
    "workspaces",
)


class Subcommands(Mapping[str, click.Command]):
    """A mapping whose names are there without their subcommands."""

    def __getitem__(self, name: str) -> click.Command:
        if name not in _NAMES:
            raise KeyError(name)
        file = name.replace("-", "_")
        command: click.Command = getattr(
            import_module(f"cmux_proxy.commands.{file}"), f"{file}_command"
        )
        return command

    def __contains__(self, name: object) -> bool:
        return name in _NAMES

    def __iter__(self) -> Iterator[str]:
        return iter(_NAMES)

    def __len__(self) -> int:
        return len(_NAMES)
