"""The public names, and that they are as documented."""

import importlib.resources
import inspect
from dataclasses import fields, is_dataclass

import pytest

import cmux_proxy
from cmux_proxy import _build

DOCUMENTED = {
    "Access": "who may connect, and where to",
    "Address": "the address a proxy listens on",
    "CertificateError": "a file with a certificate or a key that cannot be used",
    "CmuxProxyError": "the base of the exceptions",
    "Config": "the configuration of a proxy",
    "ConfigError": "a bad value in Config",
    "Limits": "sizes of messages and numbers of connections",
    "ListenError": "an address that cannot be bound",
    "Observability": "access log, admin listener, metrics and traces",
    "Paths": "the paths of the proxy itself",
    "PortMissing": "a router's refusal of a request that names no port",
    "Proxy": "the proxy itself",
    "Record": "the record of an exchange",
    "Rewriting": "which request headers change",
    "RouteRefused": "a router's refusal",
    "Router": "what an embedder replaces",
    "Routing": "how a request names its target",
    "Target": "where a request goes",
    "Timeouts": "how long to wait",
    "Tls": "certificates, and what plain text gets",
    "Tunnels": "who may open tunnels inside WebSockets",
    "Upstreams": "which upstreams speak TLS",
    "UpstreamUnavailable": "no connection to an upstream",
    "__version__": "which version it is",
    "run": "serve until a signal comes",
    "workspace_ip": "the address of a workspace",
}
CONFIGURATION = {
    "Config": [
        "listen", "unix_mode", "upstream_host", "routing", "rewriting", "access", "paths",
        "tls", "upstreams", "tunnels", "timeouts", "limits", "observability", "workers", "loop",
        "no_native_io", "busy_poll", "log_level",
    ],
    "Limits": [
        "request_line", "header_section", "header_fields", "response_head", "response_fields",
        "chunk_extensions", "trailers", "buffer", "clients", "clients_per_address",
        "upstream_connections", "idle_upstream_connections",
        "http2_streams", "http2_stream_window", "http2_connection_window",
    ],
    "Timeouts": [
        "connect", "connect_retry", "max_wait", "head", "idle", "body", "response",
        "response_idle", "tunnel", "upstream_idle", "linger", "drain_delay", "drain",
    ],
    "Access": [
        "tokens", "auth_token_file", "allow_ports", "deny_ports", "allow_hosts", "allow_clients",
    ],
    "Tls": ["source", "certs", "keys", "client_ca", "plain_text"],
    "Paths": ["health_path", "no_cmux_paths"],
    "Tunnels": ["origins", "connect_by_authority"],
    "Upstreams": ["https_ports", "h2c_ports", "ca"],
    "Routing": ["workspace_host", "host_suffixes", "no_host_routing"],
    "Rewriting": [
        "host_header", "rewrite_origin", "forwarded", "forwarded_rfc7239", "trusted_proxies",
    ],
    "Observability": [
        "access_log", "log_format", "access_log_file", "admin", "admin_unix_mode",
        "metrics_per_port", "otlp",
    ],
    "Address": ["host", "port", "path"],
}  # fmt: skip
SIGNATURES = {
    "Proxy": ["config", "router", "on_record"],
    "Proxy.drain": ["self", "timeout"],
    "Proxy.start": ["self", "sockets"],
    "Proxy.snapshot": ["self", "max_connections"],
    "Router": ["upstream_host", "workspace_host", "host_suffixes"],
    "Router.route": ["self", "method", "host", "fields"],
    "Router.workspace_of": ["self", "host", "fields"],
    "RouteRefused": ["status", "text", "error", "fields"],
    "Target": ["host", "port", "scheme"],
    "run": ["config", "on_start"],
    "workspace_ip": ["name"],
}


def test_exactly_what_is_documented_is_public() -> None:
    assert cmux_proxy.__all__ == sorted(DOCUMENTED)


@pytest.mark.parametrize("name", DOCUMENTED)
def test_every_public_name_exists_and_has_a_docstring(name: str) -> None:
    value = getattr(cmux_proxy, name)
    if name == "__version__":
        assert isinstance(value, str)
    elif not (_build.COMPILED and value in (cmux_proxy.Record, cmux_proxy.Router)):
        # A compiled class has no docstring.
        assert inspect.getdoc(value)


@pytest.mark.parametrize("name", CONFIGURATION)
def test_configuration_has_the_documented_fields(name: str) -> None:
    section = getattr(cmux_proxy, name)
    assert is_dataclass(section)
    assert [field.name for field in fields(section)] == CONFIGURATION[name], (
        f"a public field has changed: adapt CONFIGURATION[{name!r}] above, and CHANGELOG.md"
    )


@pytest.mark.parametrize("path", SIGNATURES)
def test_functions_take_the_documented_arguments(path: str) -> None:
    value: object = cmux_proxy
    for name in path.split("."):
        value = getattr(value, name)
    assert callable(value)
    assert list(inspect.signature(value).parameters) == SIGNATURES[path]


def test_a_proxy_is_started_drained_closed_and_used_as_a_context() -> None:
    for name in ("start", "drain", "close", "__aenter__", "__aexit__"):
        assert inspect.iscoroutinefunction(getattr(cmux_proxy.Proxy, name))
    assert isinstance(inspect.getattr_static(cmux_proxy.Proxy, "addresses"), property)


def test_the_package_is_marked_as_typed() -> None:
    assert importlib.resources.files("cmux_proxy").joinpath("py.typed").is_file()
