"""The rules that select a target: the host if it names a port, otherwise the fields.

The host is first because a page in a browser can add fields to the requests of its origin, and
cannot change their Host. An embedder with other rules subclasses Router and overrides `route`.
"""

from collections.abc import Sequence
from typing import Final

from mypy_extensions import mypyc_attr

from cmux_proxy.errors import PortMissing, RouteRefused
from cmux_proxy.routing.host_label import HostLabel, HostSuffixes
from cmux_proxy.routing.port_field import PORT_FIELD, parse_port
from cmux_proxy.routing.target import HostTarget, Target
from cmux_proxy.routing.workspace import WORKSPACE_FIELD, WorkspaceHosts, workspace_label

# Fields whose names begin and end like this are given to the router and never forwarded.
RESERVED_PREFIX: Final = b"x-cmux-"
RESERVED_SUFFIX: Final = b"-internal"

PORT_NAME: Final = b"x-cmux-port-internal"
_WORKSPACE: Final = b"x-cmux-workspace-internal"
_INVALID_WORKSPACE: Final = f"invalid header: {WORKSPACE_FIELD}"
# At most a few megabytes in total. The size of keys is limited too, because a workspace or a host
# may be as long as a header section.
_MAX_CACHED: Final = 4096
_MAX_CACHED_KEY: Final = 512


@mypyc_attr(allow_interpreted_subclasses=True)
class Router:
    """Routes by the host if it names a port, otherwise by the fields.

    The target is on `upstream_host`. If a workspace is named, it is on the host of that workspace:
    a loopback address, or the name made by the template `workspace_host`, such as
    "{workspace}.example". `host_suffixes` are the domains below which a host names a port.
    """

    __slots__ = (
        "_has_suffixes",
        "_last_fields",
        "_last_host",
        "_last_target",
        "_other_targets",
        "_port_targets",
        "_portless_hosts",
        "_suffixes",
        "_upstream_host",
        "_workspaces",
    )

    def __init__(
        self,
        upstream_host: str,
        workspace_host: str | None = None,
        host_suffixes: Sequence[str] = (),
    ) -> None:
        self._upstream_host = upstream_host
        self._workspaces = WorkspaceHosts(workspace_host)
        self._suffixes = HostSuffixes(host_suffixes)
        self._has_suffixes = len(host_suffixes) > 0
        # Caches: hosts that name no port, targets by port alone, and by port, workspace and host.
        self._portless_hosts: set[bytes] = set()
        self._port_targets: dict[bytes, Target] = {}
        self._other_targets: dict[tuple[bytes | None, bytes | None, bytes | None], Target] = {}
        # The last request that was routed by its port alone. The next one often has the same
        # objects, because the scan does not make equal ones again.
        self._last_fields: tuple[tuple[bytes, bytes], ...] | None = None
        self._last_host: bytes | None = None
        self._last_target: Target | None = None

    def route(
        self, method: bytes, host: bytes | None, fields: tuple[tuple[bytes, bytes], ...]
    ) -> Target:
        """Return the target of a request; raise RouteRefused if it has none.

        PortMissing is the RouteRefused of a request that names no port. The proxy serves its own
        paths, below /.cmux/, only to such requests.

        `host` is the authority of the request target, otherwise the Host. `fields` are the reserved
        fields, each a lower-case name and a value without surrounding white space.
        """
        last = self._last_target
        if fields is self._last_fields and host is self._last_host and last is not None:
            return last
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
            return self._route_by_all(method, host, port, workspace)
        if self._has_suffixes and host is not None and host not in self._portless_hosts:
            return self._route_by_all(method, host, port, None)
        target = self._port_targets.get(port)
        if target is None:
            target = self._read_port(port)
        self._last_fields = fields
        self._last_host = host
        self._last_target = target
        return target

    def workspace_of(self, host: bytes | None, fields: tuple[tuple[bytes, bytes], ...]) -> str:
        """Return the workspace that a request names, or "", for logs and statistics.

        The parameters are those of `route`, except that `host` is None if it does not select the
        upstream.
        """
        if fields is self._last_fields and (host is None or host is self._last_host):
            # It was routed by its port alone.
            return ""
        if host is not None and host not in self._portless_hosts:
            label = self._suffixes.read(host)
            if label is not None:
                return label.workspace or ""
        for name, value in fields:
            if name == _WORKSPACE:
                return value.decode("latin-1").rpartition("/")[2]
        return ""

    def _route_by_all(
        self, method: bytes, host: bytes | None, port: bytes | None, workspace: bytes | None
    ) -> Target:
        """Return the target of a request whose workspace or host may matter too."""
        # The host of a CONNECT is that of its target, which does not select the upstream.
        naming = None if method == b"CONNECT" or host in self._portless_hosts else host
        key = (port, workspace, naming)
        target = self._other_targets.get(key)
        if target is not None:
            return target
        label = None if naming is None else self._suffixes.read(naming)
        if label is not None:
            target = self._target_by_host(label, port, workspace)
        else:
            self._remember_portless(naming)
            key = (port, workspace, None)
            target = self._target_by_fields(port, workspace)
        if len(workspace or b"") + len(key[2] or b"") <= _MAX_CACHED_KEY:
            if len(self._other_targets) >= _MAX_CACHED:
                self._other_targets.clear()
            self._other_targets[key] = target
        return target

    def _target_by_host(
        self, label: HostLabel, port: bytes | None, workspace: bytes | None
    ) -> Target:
        """Return the target that a host names; the fields may only repeat it."""
        if port is not None and parse_port(port) != label.port:
            raise _contradiction(PORT_FIELD)
        if workspace is not None and _checked_label(workspace) != label.workspace:
            raise _contradiction(WORKSPACE_FIELD)
        return HostTarget(
            self._workspace_host(label.workspace, "invalid host: its workspace"), label.port
        )

    def _target_by_fields(self, port: bytes | None, workspace: bytes | None) -> Target:
        if port is None:
            raise PortMissing(400, f"missing required header: {PORT_FIELD}")
        if workspace is None:
            # One object per port, because a look-up with another equal object compares the values.
            target = self._port_targets.get(port)
            return self._read_port(port) if target is None else target
        number = parse_port(port)
        return Target(self._workspace_host(workspace.decode("latin-1"), _INVALID_WORKSPACE), number)

    def _read_port(self, port: bytes) -> Target:
        target = Target(self._upstream_host, parse_port(port))
        if len(self._port_targets) >= _MAX_CACHED:
            self._port_targets.clear()
        self._port_targets[port] = target
        return target

    def _workspace_host(self, workspace: str | None, subject: str) -> str:
        """Return the host of a workspace, or the upstream host if there is no workspace.

        `subject` begins the text of a refusal.
        """
        if workspace is None:
            return self._upstream_host
        try:
            return self._workspaces.host_of(workspace)
        except ValueError as error:
            raise RouteRefused(400, f"{subject} {error}") from None

    def _remember_portless(self, host: bytes | None) -> None:
        """Cache that a host names no port."""
        if host is not None and len(host) <= _MAX_CACHED_KEY:
            if len(self._portless_hosts) >= _MAX_CACHED:
                self._portless_hosts.clear()
            self._portless_hosts.add(host)


def _checked_label(workspace: bytes) -> str:
    """Return the label of a workspace field; raise RouteRefused if it has none."""
    try:
        return workspace_label(workspace.decode("latin-1"))
    except ValueError as error:
        raise RouteRefused(400, f"{_INVALID_WORKSPACE} {error}") from None


def _contradiction(field: str) -> RouteRefused:
    return RouteRefused(400, f"invalid header: {field} contradicts the host; leave it out")
