"""The route that a diagnosis follows: proxy, port and hosts, and the questions to ask of it."""

import base64
from collections.abc import Sequence
from typing import Final, NamedTuple, Self

from cmux_proxy.client.probe import Question
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
    """Where to look; `names_port` tells that the host alone has to lead there."""

    proxy: ProxyUrl
    port: int
    workspace: str | None
    host: str
    names_port: bool
    path: str
    extra: Sequence[tuple[str, str]]

    @classmethod
    def of(
        cls,
        proxy: ProxyUrl,
        port: int | None,
        host: str | None,
        workspace: str | None,
        path: str,
        extra: Sequence[tuple[str, str]],
    ) -> Self:
        """Fill in what is not given; raise ValueError where the host has to name a port."""
        if port is not None:
            label = f"{port}" if workspace is None else f"{workspace.rpartition('/')[2]}-{port}"
            host = host or f"{label}.localhost:{proxy.port}"
            return cls(proxy, port, workspace, host, False, path, extra)
        named = _named_by(host or "")
        if named is None:
            raise ValueError(f"{host!r} does not begin with a port, as 3000.localhost does")
        return cls(proxy, named.port, named.workspace, host or "", True, path, extra)

    @property
    def usual_host(self) -> str:
        """The host that the service has where nothing stands before it."""
        return f"localhost:{self.port}"

    @property
    def is_of_this_machine(self) -> bool:
        """Whether the proxy seems to run here."""
        return self.proxy.is_loopback

    def probe(self) -> Question:
        """Ask the proxy what only it answers: there is no port 0."""
        return Question("/", [("Host", self.usual_host), *self.extra, (PORT_FIELD, "0")])

    def usual(self) -> Question:
        """Ask with the host that the service knows."""
        return Question(self.path, [*self._named(self.usual_host, False), ("Accept", "*/*")])

    def foreign(self) -> Question:
        """Ask with the host that is to be tried."""
        return Question(self.path, [*self._named(self.host, self.names_port), ("Accept", "*/*")])

    def upgrade(self, is_foreign: bool) -> Question:
        """Ask for a WebSocket, as a page of that host does."""
        host = self.host if is_foreign else self.usual_host
        fields = self._named(host, is_foreign and self.names_port)
        return Question(self.path, [*fields, ("Origin", f"http://{host}"), *_UPGRADE])

    def _named(self, host: str, by_host: bool) -> Fields:
        fields = [("Host", host), *self.extra]
        if by_host:
            return fields
        fields.append((PORT_FIELD, str(self.port)))
        if self.workspace is not None:
            fields.append((WORKSPACE_FIELD, self.workspace))
        return fields


def _named_by(host: str) -> HostLabel | None:
    """Return what the first label of a host says, whatever domain it is in."""
    suffix = plain_host(host.encode("latin-1", "replace")).partition(".")[2]
    return HostSuffixes([suffix]).read(host.encode("latin-1", "replace")) if suffix else None
