"""cmux-proxy wait PORT: until something listens there."""

import socket
import sys
import time
from typing import Final

import click

from cmux_proxy.commands.connect import TIMED_OUT
from cmux_proxy.commands.output import warn
from cmux_proxy.config.option_types import DurationType
from cmux_proxy.machine.describe import describe_nearest_listener
from cmux_proxy.machine.listening import LISTENERS_UNKNOWN, ListenerScanner, find_listening_ports
from cmux_proxy.machine.namespaces import (
    WORKSPACES_HIDDEN,
    ServiceAddresses,
    are_workspaces_hidden,
    service_addresses,
)

_LOOK_AFTER: Final = 0.05
_ANSWERS_WITHIN: Final = 1.0


@click.command("wait")
@click.argument("port", type=click.IntRange(1, 65535))
@click.option(
    "--timeout", type=DurationType(), default=60.0, show_default="60s",
    help="How long to wait; 0 looks once.",
)  # fmt: skip
@click.option("--workspace", metavar="NAME", help="Workspace whose port is meant.")
def wait_command(port: int, timeout: float, workspace: str | None) -> int:
    """Wait until something listens on a port of 127.0.0.1 or ::1; connects to nothing."""
    try:
        place = service_addresses(workspace)
    except ValueError as error:
        raise click.BadParameter(f"{workspace!r} {error}", param_hint="--workspace") from None
    if workspace is not None and are_workspaces_hidden():
        raise click.ClickException(WORKSPACES_HIDDEN)
    survey = ListenerScanner()
    end = time.monotonic() + timeout
    while not _is_there(survey, port, place):
        left = end - time.monotonic()
        if left <= 0:
            warn(f"cmux-proxy: error: {_in_vain(port, timeout, place)}")
            return TIMED_OUT
        time.sleep(min(left, _LOOK_AFTER))
        # It may be isolated by now.
        place = service_addresses(workspace)
    return 0


def _is_there(survey: ListenerScanner, port: int, place: ServiceAddresses) -> bool:
    found = survey.scan([place.namespace])
    if not survey.is_complete:
        raise click.ClickException(LISTENERS_UNKNOWN)
    if any(each.port == port and each.covers(host) for each in found for host in place.hosts):
        return True
    # Elsewhere nobody but root is told what other users listen on.
    return sys.platform != "linux" and any(_accepts(host, port) for host in place.hosts)


def _accepts(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), _ANSWERS_WITHIN).close()
    except OSError:
        return False
    return True


def _in_vain(port: int, timeout: float, place: ServiceAddresses) -> str:
    text = f"nothing listens on port {port}"
    if timeout:
        text = f"nothing has listened on port {port} within {timeout:g} s"
    instead = describe_nearest_listener(port, place, find_listening_ports())
    return text if instead is None else f"{text}; {instead}"
