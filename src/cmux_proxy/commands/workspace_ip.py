"""cmux-proxy workspace-ip NAME: prints the loopback address of a workspace."""

import click

from cmux_proxy.commands.output import print_line
from cmux_proxy.routing.workspace import workspace_ip


@click.command("workspace-ip")
@click.argument("name")
def workspace_ip_command(name: str) -> None:
    """Print the loopback address of a workspace."""
    try:
        address = workspace_ip(name)
    except ValueError as error:
        raise click.BadParameter(f"{name!r} {error}", param_hint="NAME") from None
    print_line(address)
