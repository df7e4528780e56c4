"""The rules that pick a target, asked in order: the fields, then the host.

An embedder who routes differently subclasses Router and overrides `route`.
"""

from collections.abc import Sequence
from typing import Final

from mypy_extensions import mypyc_attr

from cmux_proxy.errors import RouteRefused
from cmux_proxy.routing.host_label import HostSuffixes
from cmux_proxy.routing.port_field import PORT_FIELD, parse_port
from cmux_proxy.routing.target import Target
from cmux_proxy.routing.workspace import WORKSPACE_FIELD, WorkspaceHosts

# The family of fields that belong to routing: reported to the router, never sent upstream.
FAMILY_PREFIX: Final = b"x-cmux-"
FAMILY_SUFFIX: Final = b"-internal"

PORT_NAME: Final = b"x-cmux-port-internal"
_WORKSPACE: Final = b"x-cmux-workspace-internal"
# In all at most a few megabytes: a workspace or a host may be as long as a header section.
_REMEMBERED: Final = 4096
_LONGEST: Final = 512


@mypyc_attr(allow_interpreted_subclasses=True)
class Router:
    """Routes by the port field, and by the host where there is none.

    The target is on `upstream_host`, or where a workspace is named, on that workspace's own host:
    a loopback address, or the name that `workspace_host` makes of it, such as
    "{workspace}.example". `host_suffixes` are names below which a host names a port.
    """

    __slots__ = ("_host", "_rare", "_suffixes", "_targets", "_workspaces")

    def __init__(
        self,
        upstream_host: str,
        workspace_host: str | None = None,
        host_suffixes: Sequence[str] = (),
    ) -> None:
        self._host = upstream_host
        self._workspaces = WorkspaceHosts(workspace_host)
        self._suffixes = HostSuffixes(host_suffixes)
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
        target = self._targets.get(port)
        if target is None:
            target = Target(self._host, parse_port(port))
            if len(self._targets) >= _REMEMBERED:
                self._targets.clear()
            self._targets[port] = target
        return target

    def workspace_of(self, host: bytes | None, fields: tuple[tuple[bytes, bytes], ...]) -> str:
        """Return the workspace that a request names, for whoever is told of it; mostly none.

        What `route` gets, but for `host`: None where it does not choose the upstream.
        """
        port: bytes | None = None
        for name, value in fields:
            if name == _WORKSPACE:
                return value.decode("latin-1").rpartition("/")[2]
            if name == PORT_NAME:
                port = value
        label = None if host is None or port is not None else self._suffixes.read(host)
        return label.workspace or "" if label is not None else ""

    def _route_rarely(
        self, method: bytes, host: bytes | None, port: bytes | None, workspace: bytes | None
    ) -> Target:
        """Return the target where a workspace is named, or no port is."""
        # The host of a CONNECT is that of its target, which does not choose the upstream.
        said = host if port is None and method != b"CONNECT" else None
        key = (port, workspace, said)
        target = self._rare.get(key)
        if target is None:
            target = self._read(port, workspace, said)
            if len(workspace or b"") + len(said or b"") > _LONGEST:
                return target
            if len(self._rare) >= _REMEMBERED:
                self._rare.clear()
            self._rare[key] = target
        return target

    def _read(self, port: bytes | None, workspace: bytes | None, host: bytes | None) -> Target:
        name = None if workspace is None else workspace.decode("latin-1")
        blamed = f"invalid header: {WORKSPACE_FIELD}"
        if port is not None:
            number = parse_port(port)
        else:
            found = None if host is None else self._suffixes.read(host)
            if found is None:
                raise RouteRefused(400, f"missing required header: {PORT_FIELD}")
            number = found.port
            if name is None:
                name = found.workspace
                blamed = "invalid host: its workspace"
        if name is None:
            return Target(self._host, number)
        try:
            return Target(self._workspaces.host_of(name), number)
        except ValueError as error:
            raise RouteRefused(400, f"{blamed} {error}") from None
