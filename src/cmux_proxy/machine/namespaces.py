"""The network namespaces in which services may listen: this process's, and isolated workspaces'."""

import os
from typing import Final, NamedTuple

from cmux_proxy.isolation.namespace import net_namespace_id
from cmux_proxy.isolation.registry import Registry
from cmux_proxy.isolation.status import WorkspaceStatus, read_statuses
from cmux_proxy.net.loopback import LOOPBACKS
from cmux_proxy.routing.workspace import workspace_ip

WORKSPACES_HIDDEN: Final = "cannot look into isolated workspaces: /proc is not mounted"


class Namespace(NamedTuple):
    """A network namespace, with its workspace and address if it is an isolated one.

    `pid` is a process in it, None for this process's own namespace.
    """

    pid: int | None = None
    workspace: str | None = None
    address: str | None = None


class ServiceAddresses(NamedTuple):
    """A namespace, and the IP addresses in it at which a service is expected."""

    namespace: Namespace
    hosts: tuple[str, ...]


def find_namespaces() -> list[Namespace]:
    """Return this process's namespace, then those of this user's isolated workspaces."""
    isolated = [_namespace(status) for status in _read_visible_statuses()]
    here = next((namespace for namespace in isolated if namespace.pid is None), Namespace())
    return [here, *(namespace for namespace in isolated if namespace.pid is not None)]


def service_addresses(workspace: str | None) -> ServiceAddresses:
    """Return where the services of a workspace listen, or those outside any workspace.

    Raises ValueError where `workspace` is not a valid name.
    """
    here, *others = find_namespaces()
    if workspace is None:
        return ServiceAddresses(here, LOOPBACKS)
    address = workspace_ip(workspace)
    for namespace in (here, *others):
        if namespace.address == address:
            return ServiceAddresses(namespace, (*LOOPBACKS, address))
    return ServiceAddresses(here, (address,))


def are_workspaces_hidden() -> bool:
    """Return whether there are isolated workspaces that cannot be read because /proc is missing."""
    if os.path.exists("/proc/self/fd"):
        return False
    registry = Registry.find()
    if registry is None:
        return False
    with registry:
        return bool(registry.addresses())


def _read_visible_statuses() -> list[WorkspaceStatus]:
    registry = Registry.find()
    if registry is None:
        return []
    with registry:
        # Nothing can listen in a workspace without a command.
        return [
            status for status in read_statuses(registry) if status.commands and _is_visible(status)
        ]


def _is_visible(status: WorkspaceStatus) -> bool:
    """Return whether its process has the same id here: a container has its own process ids."""
    try:
        return net_namespace_id(status.commands[0].pid) == status.namespace
    except OSError:
        return False


def _namespace(status: WorkspaceStatus) -> Namespace:
    command = status.commands[0]
    pid = None if status.namespace == net_namespace_id() else command.pid
    return Namespace(pid, command.workspace, status.address)
