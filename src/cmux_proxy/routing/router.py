"""The rules that pick a target: the host where it names a port, else the fields.

A page in a browser may add fields to the requests of its own origin, and has no say in their Host.
An embedder who routes differently subclasses Router and overrides `route`.
"""

from collections.abc import Sequence
from typing import Final

from mypy_extensions import mypyc_attr

from cmux_proxy.errors import RouteRefused
from cmux_proxy.routing.host_label import HostLabel, HostSuffixes
from cmux_proxy.routing.port_field import PORT_FIELD, parse_port
from cmux_proxy.routing.target import HostTarget, Target
from cmux_proxy.routing.workspace import WORKSPACE_FIELD, WorkspaceHosts, workspace_label

# The family of fields that belong to routing: reported to the router, never sent upstream.
RESERVED_PREFIX: Final = b"x-cmux-"
RESERVED_SUFFIX: Final = b"-internal"

PORT_NAME: Final = b"x-cmux-port-internal"
_WORKSPACE: Final = b"x-cmux-workspace-internal"
_INVALID_WORKSPACE: Final = f"invalid header: {WORKSPACE_FIELD}"
# In all at most a few megabytes: a workspace or a host may be as long as a header section.
_REMEMBERED: Final = 4096
_LONGEST: Final = 512


@mypyc_attr(allow_interpreted_subclasses=True)
class Router:
    """Routes by the host where it names a port, and by the fields where it does not.

    The target is on `upstream_host`, or where a workspace is named, on that workspace's own host:
    a loopback address, or the name that `workspace_host` makes of it, such as
    "{workspace}.example". `host_suffixes` are names below which a host names a port.
    """

    __slots__ = (
        "_host",
        "_rare",
        "_reads_hosts",
        "_silent",
        "_suffixes",
        "_targets",
        "_workspaces",
    )

    def __init__(
        self,
        upstream_host: str,
        workspace_host: str | None = None,
        host_suffixes: Sequence[str] = (),
    ) -> None:
        self._host = upstream_host
        self._workspaces = WorkspaceHosts(workspace_host)
        self._suffixes = HostSuffixes(host_suffixes)
        self._reads_hosts = len(host_suffixes) > 0
        # Hosts that name no port, which are most.
        self._silent: set[bytes] = set()
        self._targets: dict[bytes, Target] = {}
        self._rare: dict[tuple[bytes | None, bytes | None, bytes | None], Target] = {}

    def route(
        self, method: bytes, host: bytes | None, fields: tuple[tuple[bytes, bytes], ...]
    ) -> Target:
        """Return the target of a request; raise RouteRefused when it has none.

        `host` is the Host that the request means; `fields` are the routing fields, each a
        lower-case name and a value without surrounding white space.
        """
        port: bytes | None = None
        workspace: bytes | None = None
        for name, value in fields:
            if name == PORT_NAME:
                if port is not None:
                    raise RouteRefused(400, f"header given more than once: {PORT_FIELD}")
                port = value
            elif name == _WORKSPACE:
                if workspace is not None:
                    raise RouteRefused(400, f"header given more than once: {WORKSPACE_FIELD}")
                workspace = value
        if port is None or workspace is not None:
            return self._route_rarely(method, host, port, workspace)
        if self._reads_hosts and host is not None and host not in self._silent:
            return self._route_rarely(method, host, port, None)
        target = self._targets.get(port)
        return self._read_port(port) if target is None else target

    def workspace_of(self, host: bytes | None, fields: tuple[tuple[bytes, bytes], ...]) -> str:
        """Return the workspace that a request names, for records; mostly none.

        What `route` gets, but for `host`: None where it does not choose the upstream.
        """
        if host is not None and host not in self._silent:
            label = self._suffixes.read(host)
            if label is not None:
                return label.workspace or ""
        for name, value in fields:
            if name == _WORKSPACE:
                return value.decode("latin-1").rpartition("/")[2]
        return ""

    def _route_rarely(
        self, method: bytes, host: bytes | None, port: bytes | None, workspace: bytes | None
    ) -> Target:
        """Return the target where more than the port field is, or may be, of importance."""
        # The host of a CONNECT is that of its target, which does not choose the upstream.
        said = None if method == b"CONNECT" or host in self._silent else host
        key = (port, workspace, said)
        target = self._rare.get(key)
        if target is not None:
            return target
        label = None if said is None else self._suffixes.read(said)
        if label is not None:
            target = self._by_host(label, port, workspace)
        else:
            self._note_silent(said)
            key = (port, workspace, None)
            target = self._by_fields(port, workspace)
        if len(workspace or b"") + len(key[2] or b"") <= _LONGEST:
            if len(self._rare) >= _REMEMBERED:
                self._rare.clear()
            self._rare[key] = target
        return target

    def _by_host(self, label: HostLabel, port: bytes | None, workspace: bytes | None) -> Target:
        """Return the target that a host names; fields may repeat it, and nothing else."""
        if port is not None and parse_port(port) != label.port:
            raise _contradicted(PORT_FIELD)
        if workspace is not None and _checked(workspace) != label.workspace:
            raise _contradicted(WORKSPACE_FIELD)
        return HostTarget(self._host_of(label.workspace, "invalid host: its workspace"), label.port)

    def _by_fields(self, port: bytes | None, workspace: bytes | None) -> Target:
        if port is None:
            raise RouteRefused(400, f"missing required header: {PORT_FIELD}")
        if workspace is None:
            # One object for a port: a look-up with another, equal one has to compare them.
            target = self._targets.get(port)
            return self._read_port(port) if target is None else target
        number = parse_port(port)
        return Target(self._host_of(workspace.decode("latin-1"), _INVALID_WORKSPACE), number)

    def _read_port(self, port: bytes) -> Target:
        target = Target(self._host, parse_port(port))
        if len(self._targets) >= _REMEMBERED:
            self._targets.clear()
        self._targets[port] = target
        return target

    def _host_of(self, workspace: str | None, blamed: str) -> str:
        """Return the host of a workspace, or the upstream host where there is no workspace."""
        if workspace is None:
            return self._host
        try:
            return self._workspaces.host_of(workspace)
        except ValueError as error:
            raise RouteRefused(400, f"{blamed} {error}") from None

    def _note_silent(self, host: bytes | None) -> None:
        """Remember that a host names no port."""
        if host is not None and len(host) <= _LONGEST:
            if len(self._silent) >= _REMEMBERED:
                self._silent.clear()
            self._silent.add(host)


def _checked(workspace: bytes) -> str:
    """Return the label of a workspace field; raise RouteRefused where it has none."""
    try:
        return workspace_label(workspace.decode("latin-1"))
    except ValueError as error:
        raise RouteRefused(400, f"{_INVALID_WORKSPACE} {error}") from None


def _contradicted(field: str) -> RouteRefused:
    return RouteRefused(400, f"invalid header: {field} contradicts the host; leave it out")
