"""A header-routed reverse proxy: one port in front of every local port.

A name is imported from its module when it is first used, so that the command can handle signals
before the package is loaded, which takes a tenth of a second.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cmux_proxy._build import __version__
    from cmux_proxy.config.address import Address
    from cmux_proxy.config.path_section import Paths
    from cmux_proxy.config.proxy_config import Config
    from cmux_proxy.config.sections import (
        Access,
        Limits,
        Observability,
        Rewriting,
        Routing,
        Timeouts,
    )
    from cmux_proxy.config.tls_section import Tls
    from cmux_proxy.config.tunnel_section import Tunnels
    from cmux_proxy.config.upstream_section import Upstreams
    from cmux_proxy.errors import (
        CertificateError,
        CmuxProxyError,
        ConfigError,
        ListenError,
        PortMissing,
        RouteRefused,
        UpstreamUnavailable,
    )
    from cmux_proxy.observe.record import Record
    from cmux_proxy.routing.router import Router
    from cmux_proxy.routing.target import Target
    from cmux_proxy.routing.workspace import workspace_ip
    from cmux_proxy.server.launch import run
    from cmux_proxy.server.proxy import Proxy
else:
    _MODULES = {
        "_build": ["__version__"],
        "config.address": ["Address"],
        "config.proxy_config": ["Config"],
        "config.sections": [
            "Access", "Limits", "Observability", "Rewriting", "Routing", "Timeouts",
        ],
        "config.tls_section": ["Tls"],
        "config.path_section": ["Paths"],
        "config.tunnel_section": ["Tunnels"],
        "config.upstream_section": ["Upstreams"],
        "errors": [
            "CertificateError", "CmuxProxyError", "ConfigError", "ListenError", "PortMissing",
            "RouteRefused", "UpstreamUnavailable",
        ],
        "observe.record": ["Record"],
        "routing.router": ["Router"],
        "routing.target": ["Target"],
        "routing.workspace": ["workspace_ip"],
        "server.proxy": ["Proxy"],
        "server.launch": ["run"],
    }  # fmt: skip
    _HOMES = {name: module for module, names in _MODULES.items() for name in names}

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *_HOMES})


__all__ = [
    "Access",
    "Address",
    "CertificateError",
    "CmuxProxyError",
    "Config",
    "ConfigError",
    "Limits",
    "ListenError",
    "Observability",
    "Paths",
    "PortMissing",
    "Proxy",
    "Record",
    "Rewriting",
    "RouteRefused",
    "Router",
    "Routing",
    "Target",
    "Timeouts",
    "Tls",
    "Tunnels",
    "UpstreamUnavailable",
    "Upstreams",
    "__version__",
    "run",
    "workspace_ip",
]
