"""cmux-proxy run --workspace NAME -- COMMAND...: executes a command inside a workspace."""

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
@click.option("--workspace", required=True, metavar="NAME", help="Workspace in which to run it.")
@click.option(
    "--no-outbound",
    is_flag=True,
    help="No network except the loopback, if this is the workspace's first command.",
)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run_command(workspace: str, no_outbound: bool, command: tuple[str, ...]) -> NoReturn:
    """Run a command in a workspace with its own loopback (Linux).

    A service on 127.0.0.1:3000 in the workspace is reachable only through the proxy, with
    X-Cmux-Workspace-Internal. All commands of a workspace share its network, which ends with the
    last command.
    """
    try:
        address = workspace_ip(workspace)
    except ValueError as error:
        raise click.BadParameter(f"{workspace!r} {error}", param_hint="--workspace") from None
    try:
        require_linux()
        # Before this process enters another namespace.
        exposed = [] if no_outbound or find_outbound_problem() else _find_exposed_proxies()
        entered = enter_workspace(workspace_label(workspace), address, not no_outbound)
    except IsolationError as error:
        raise _Failed(str(error)) from None
    if entered.outbound_problem is not None:
        text = f"this workspace has only the loopback: {entered.outbound_problem}"
        warn(f"cmux-proxy: WARNING: {text} (--no-outbound)")
    if entered.has_started_outbound and exposed:
        warn(f"cmux-proxy: WARNING: {_exposed_text(exposed[0])}")
    _execute(command)


def _find_exposed_proxies() -> list[ListeningPort]:
    return find_public_proxies(find_listening_ports([Namespace()]))


def _exposed_text(proxy: ListeningPort) -> str:
    """Return a warning about a proxy that is reachable from inside the workspace."""
    address = Address(proxy.address, proxy.port)
    return (
        f"this workspace reaches the loopback of the machine through the proxy on {address}: "
        "let the proxy listen on 127.0.0.1 or require a token, or use --no-outbound"
    )


def _execute(command: tuple[str, ...]) -> NoReturn:
    # Python ignores these signals; the command should not.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvp(command[0], command)  # noqa: S606
    except (FileNotFoundError, NotADirectoryError):
        raise _NotFound(f"{command[0]}: command not found") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise _NotRunnable(f"{command[0]}: {reason}") from None
