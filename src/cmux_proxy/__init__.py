"""A header-routed reverse proxy: one port in front of every local port."""

from cmux_proxy._build import __version__
from cmux_proxy.config import Address, Config
from cmux_proxy.errors import (
    CmuxProxyError,
    ConfigError,
    ListenError,
    RouteRefused,
    UpstreamUnavailable,
)
from cmux_proxy.observe.record import Record
from cmux_proxy.routing.router import Router
from cmux_proxy.routing.target import Target
from cmux_proxy.routing.workspace import workspace_ip
from cmux_proxy.server.proxy import Proxy
from cmux_proxy.server.supervisor import run
from cmux_proxy.settings import (
    Access,
    Limits,
    Observing,
    PoolLimits,
    Rewriting,
    Routing,
    Timeouts,
)

__all__ = [
    "Access",
    "Address",
    "CmuxProxyError",
    "Config",
    "ConfigError",
    "Limits",
    "ListenError",
    "Observing",
    "PoolLimits",
    "Proxy",
    "Record",
    "Rewriting",
    "RouteRefused",
    "Router",
    "Routing",
    "Target",
    "Timeouts",
    "UpstreamUnavailable",
    "__version__",
    "run",
    "workspace_ip",
]
