"""cmux-proxy workspaces: lists isolated workspaces and the commands in them."""

from typing import Final

import click

from cmux_proxy.commands.table import print_table
from cmux_proxy.isolation.registry import Registry
from cmux_proxy.isolation.status import Command, WorkspaceStatus, read_statuses
from cmux_proxy.machine.processes import read_command

_TITLES: Final = ("WORKSPACE", "ADDRESS", "PORTS", "PID", "COMMAND")


@click.command("workspaces")
def workspaces_command() -> None:
    """List the isolated workspaces with their listening ports and commands."""
    registry = Registry.find()
    if registry is None:
        return
    with registry:
        rows = [
            _row(status, command)
            for status in read_statuses(registry)
            for command in status.commands
        ]
    if rows:
        print_table([_TITLES, *rows])


def _row(status: WorkspaceStatus, command: Command) -> tuple[str, ...]:
    ports = ",".join(map(str, status.ports)) or "-"
    return (
        command.workspace,
        status.address,
        ports,
        str(command.pid),
        read_command(command.pid) or "-",
    )
