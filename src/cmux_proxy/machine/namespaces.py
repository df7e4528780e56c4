"""Where something may listen: this process's network namespace, and isolated workspaces."""

import os
from typing import Final, NamedTuple

from cmux_proxy.isolation.namespace import net_namespace
from cmux_proxy.isolation.registry import Registry
from cmux_proxy.isolation.status import Status, statuses
from cmux_proxy.routing.workspace import workspace_ip

HIDDEN: Final = "isolated workspaces cannot be looked into, since /proc is not mounted"

_BOTH_LOOPBACKS: Final = ("127.0.0.1", "::1")


class Space(NamedTuple):
    """A network namespace: a process in it, None for this one; a workspace if it is isolated."""

    pid: int | None = None
    workspace: str | None = None
    address: str | None = None


class Place(NamedTuple):
    """A namespace, and the addresses in it at which a service is looked for."""

    space: Space
    hosts: tuple[str, ...]


def spaces() -> list[Space]:
    """Return this process's namespace, and behind it this user's isolated workspaces."""
    found = [_space(status) for status in _statuses()]
    here = next((space for space in found if space.pid is None), Space())
    return [here, *(space for space in found if space.pid is not None)]


def place_of(workspace: str | None) -> Place:
    """Return where a workspace's services are, or those of none; ValueError if it is no name."""
    here, *others = spaces()
    if workspace is None:
        return Place(here, _BOTH_LOOPBACKS)
    address = workspace_ip(workspace)
    for space in (here, *others):
        if space.address == address:
            return Place(space, (*_BOTH_LOOPBACKS, address))
    return Place(here, (address,))


def are_hidden() -> bool:
    """Return whether there are isolated workspaces into which only a /proc would lead."""
    if os.path.exists("/proc/self/fd"):
        return False
    registry = Registry.find()
    if registry is None:
        return False
    with registry:
        return bool(registry.addresses())


def _statuses() -> list[Status]:
    registry = Registry.find()
    if registry is None:
        return []
    with registry:
        # In one without a command nothing can listen.
        return [each for each in statuses(registry) if each.commands and _is_seen(each)]


def _is_seen(status: Status) -> bool:
    """Return whether its process has that number here too: a container counts its own ones."""
    try:
        return os.stat(f"/proc/{status.commands[0].pid}/ns/net").st_ino == status.namespace
    except OSError:
        return False


def _space(status: Status) -> Space:
    first = status.commands[0]
    pid = None if status.namespace == net_namespace() else first.pid
    return Space(pid, first.workspace, status.address)
