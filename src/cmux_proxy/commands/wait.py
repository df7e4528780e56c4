"""cmux-proxy wait PORT: waits until a program listens on a port."""

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

_SCAN_INTERVAL: Final = 0.05
_CONNECT_TIMEOUT: Final = 1.0


@click.command("wait")
@click.argument("port", type=click.IntRange(1, 65535))
@click.option(
    "--timeout", type=DurationType(), default=60.0, show_default="60s",
    help="How long to wait; 0 checks once.",
)  # fmt: skip
@click.option("--workspace", metavar="NAME", help="Workspace that has the port.")
def wait_command(port: int, timeout: float, workspace: str | None) -> int:
    """Wait until a program listens on a port of 127.0.0.1 or ::1, without connecting to it."""
    try:
        service = service_addresses(workspace)
    except ValueError as error:
        raise click.BadParameter(f"{workspace!r} {error}", param_hint="--workspace") from None
    if workspace is not None and are_workspaces_hidden():
        raise click.ClickException(WORKSPACES_HIDDEN)
    scanner = ListenerScanner()
    deadline = time.monotonic() + timeout
    while not _has_listener(scanner, port, service):
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            warn(f"cmux-proxy: error: {_timeout_text(port, timeout, service)}")
            return TIMED_OUT
        time.sleep(min(remaining, _SCAN_INTERVAL))
        # The workspace may have become isolated.
        service = service_addresses(workspace)
    return 0


def _has_listener(scanner: ListenerScanner, port: int, service: ServiceAddresses) -> bool:
    listeners = scanner.scan([service.namespace])
    if not scanner.is_complete:
        raise click.ClickException(LISTENERS_UNKNOWN)
    candidates = [listener for listener in listeners if listener.port == port]
    if any(listener.covers(host) for listener in candidates for host in service.hosts):
        return True
    # Other systems list the sockets of other users for root only.
    return sys.platform != "linux" and any(_accepts(host, port) for host in service.hosts)


def _accepts(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), _CONNECT_TIMEOUT).close()
    except OSError:
        return False
    return True


def _timeout_text(port: int, timeout: float, service: ServiceAddresses) -> str:
    text = f"nothing listens on port {port}"
    if timeout:
        text = f"nothing has listened on port {port} within {timeout:g} s"
    nearest = describe_nearest_listener(port, service, find_listening_ports())
    return text if nearest is None else f"{text}; {nearest}"
