"""cmux-proxy workspaces: which workspaces are isolated, and what runs in them?"""

from collections.abc import Sequence
from typing import Final

import click

from cmux_proxy.isolation.registry import Registry
from cmux_proxy.isolation.status import Command, Status, statuses

_TITLES: Final = ("WORKSPACE", "ADDRESS", "PORTS", "PID", "COMMAND")


@click.command("workspaces")
def workspaces_command() -> None:
    """List the isolated workspaces, the ports that are listened on, and the commands."""
    registry = Registry.find()
    if registry is None:
        return
    with registry:
        rows = [_row(status, each) for status in statuses(registry) for each in status.commands]
    if rows:
        _print([_TITLES, *rows])


def _row(status: Status, command: Command) -> tuple[str, ...]:
    ports = ",".join(map(str, status.ports)) or "-"
    return command.workspace, status.address, ports, str(command.pid), _words(command.pid)


def _words(pid: int) -> str:
    """Return the words of a process's command line, with nothing that a terminal would obey."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            text = file.read().rstrip(b"\0").replace(b"\0", b" ").decode("utf-8", "replace")
    except OSError:
        text = ""
    return "".join(char if char.isprintable() else "?" for char in text) or "-"


def _print(rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        click.echo("  ".join(cells).rstrip())
