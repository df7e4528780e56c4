"""The route that a diagnosis follows: proxy, port and hosts, and the requests that check it."""

import base64
from collections.abc import Sequence
from typing import Final, NamedTuple, Self

from cmux_proxy.client.probe import ProbeRequest
from cmux_proxy.client.proxy_url import ProxyUrl
from cmux_proxy.config.values import plain_host
from cmux_proxy.routing.host_label import HostLabel, HostSuffixes
from cmux_proxy.routing.port_field import PORT_FIELD
from cmux_proxy.routing.workspace import WORKSPACE_FIELD

Fields = list[tuple[str, str]]

# RFC 6455 section 1.2
_KEY: Final = base64.b64encode(b"the sample nonce").decode("ascii")
_UPGRADE: Final = [
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", _KEY),
]


class Route(NamedTuple):
    """A route through a proxy to a service.

    `host` is the Host to try. If `host_names_port`, requests with it have no port field, so that
    the host alone has to lead to the port.
    """

    proxy: ProxyUrl
    port: int
    workspace: str | None
    host: str
    host_names_port: bool
    path: str
    extra_fields: Sequence[tuple[str, str]]

    @classmethod
    def of(
        cls,
        proxy: ProxyUrl,
        port: int | None,
        host: str | None,
        workspace: str | None,
        path: str,
        extra_fields: Sequence[tuple[str, str]],
    ) -> Self:
        """Return a route with defaults; raise ValueError without a port if the host has none."""
        if port is not None:
            label = f"{port}" if workspace is None else f"{workspace.rpartition('/')[2]}-{port}"
            host = host or f"{label}.localhost:{proxy.port}"
            return cls(proxy, port, workspace, host, False, path, extra_fields)
        label_target = _read_label(host or "")
        if label_target is None:
            raise ValueError(f"{host!r} does not begin with a port, as 3000.localhost does")
        workspace = label_target.workspace
        return cls(proxy, label_target.port, workspace, host or "", True, path, extra_fields)

    @property
    def local_host(self) -> str:
        """The Host that the service gets without a proxy."""
        return f"localhost:{self.port}"

    @property
    def is_on_this_machine(self) -> bool:
        """Whether the proxy's address is on the loopback."""
        return self.proxy.is_loopback

    def proxy_request(self) -> ProbeRequest:
        """Return a request to which only the proxy responds, because port 0 does not exist."""
        return ProbeRequest("/", [("Host", self.local_host), *self.extra_fields, (PORT_FIELD, "0")])

    def local_request(self) -> ProbeRequest:
        """Return a request with the Host that the service knows."""
        return ProbeRequest(
            self.path, [*self._field_list(self.local_host, False), ("Accept", "*/*")]
        )

    def host_request(self) -> ProbeRequest:
        """Return a request with the Host to try."""
        fields = self._field_list(self.host, self.host_names_port)
        return ProbeRequest(self.path, [*fields, ("Accept", "*/*")])

    def upgrade_request(self, is_local: bool) -> ProbeRequest:
        """Return an upgrade to a WebSocket, as a page of the local host or of `host` sends it."""
        host = self.local_host if is_local else self.host
        fields = self._field_list(host, not is_local and self.host_names_port)
        return ProbeRequest(self.path, [*fields, ("Origin", f"http://{host}"), *_UPGRADE])

    def _field_list(self, host: str, host_names_port: bool) -> Fields:
        fields = [("Host", host), *self.extra_fields]
        if host_names_port:
            return fields
        fields.append((PORT_FIELD, str(self.port)))
        if self.workspace is not None:
            fields.append((WORKSPACE_FIELD, self.workspace))
        return fields


def _read_label(host: str) -> HostLabel | None:
    """Return what the first label of a host names, in any domain."""
    suffix = plain_host(host.encode("latin-1", "replace")).partition(".")[2]
    return HostSuffixes([suffix]).read(host.encode("latin-1", "replace")) if suffix else None
