"""cmux-proxy run --workspace NAME -- COMMAND...: becomes the command, inside the workspace."""

import os
import signal
from typing import NoReturn

import click

from cmux_proxy.commands.output import warn
from cmux_proxy.config.address import Address
from cmux_proxy.isolation.entering import enter_workspace
from cmux_proxy.isolation.errors import IsolationError
from cmux_proxy.isolation.namespace import require_linux
from cmux_proxy.isolation.outbound import find_outbound_problem
from cmux_proxy.machine.listening import ListeningPort, find_listening_ports
from cmux_proxy.machine.namespaces import Namespace
from cmux_proxy.machine.running_proxies import find_public_proxies
from cmux_proxy.routing.workspace import workspace_ip, workspace_label

# The exit statuses are those of `env` and of shells.


class _Failed(click.ClickException):
    exit_code = 125


class _NotRunnable(click.ClickException):
    exit_code = 126


class _NotFound(click.ClickException):
    exit_code = 127


@click.command("run", context_settings={"allow_interspersed_args": False})
@click.option("--workspace", required=True, metavar="NAME", help="The workspace to run it in.")
@click.option(
    "--no-outbound",
    is_flag=True,
    help="Give the workspace nothing but its loopback, if this is its first command.",
)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run_command(workspace: str, no_outbound: bool, command: tuple[str, ...]) -> NoReturn:
    """Run a command whose loopback is its workspace's own (Linux).

    What listens on 127.0.0.1:3000 in there is reached through the proxy alone, with
    X-Cmux-Workspace-Internal. Commands of one workspace share it; with the last one it ends.
    """
    try:
        address = workspace_ip(workspace)
    except ValueError as error:
        raise click.BadParameter(f"{workspace!r} {error}", param_hint="--workspace") from None
    try:
        require_linux()
        # Asked before this process is in another namespace.
        exposed = [] if no_outbound or find_outbound_problem() else _find_exposed_proxies()
        entered = enter_workspace(workspace_label(workspace), address, not no_outbound)
    except IsolationError as error:
        raise _Failed(str(error)) from None
    if entered.outbound_problem is not None:
        text = f"only the loopback is reached from this workspace: {entered.outbound_problem}"
        warn(f"cmux-proxy: WARNING: {text} (--no-outbound)")
    if entered.has_started_outbound and exposed:
        warn(f"cmux-proxy: WARNING: {_through(exposed[0])}")
    _become(command)


def _find_exposed_proxies() -> list[ListeningPort]:
    return find_public_proxies(find_listening_ports([Namespace()]))


def _through(proxy: ListeningPort) -> str:
    """Say what a proxy means that is reached from inside."""
    place = Address(proxy.address, proxy.port)
    return (
        f"from this workspace the loopback of the machine is reached through the proxy on {place}: "
        "let that listen on 127.0.0.1 or ask for a token, or give no way out (--no-outbound)"
    )


def _become(command: tuple[str, ...]) -> NoReturn:
    # Python ignores these; its children should not.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvp(command[0], command)  # noqa: S606
    except (FileNotFoundError, NotADirectoryError):
        raise _NotFound(f"{command[0]}: command not found") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise _NotRunnable(f"{command[0]}: {reason}") from None
