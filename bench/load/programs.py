"""The upstreams, the load generators and the proxies, and the commands that start them."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from string import Template
from typing import get_args

from bench.load.processes import BenchError, Cores, Process, find_program, free_port
from bench.load.scenarios import Kind, Scenario

OURS = "cmux-proxy"
PURE = "cmux-proxy-pure"
UNOBSERVED = "cmux-proxy-unobserved"  # the base of comparison with --observed
MARK = "haproxy"  # the base of comparison for all others
_HERE = Path(__file__).parent
_ROOT = _HERE.parents[1]
_RIVALS = _HERE.parent / "rivals"
_FILE_SIZES = (100_000,)
_REMEDIES = {
    "haproxy-busy-polling": "on Debian: apt-get install haproxy",
    "haproxy-64k": "on Debian: apt-get install haproxy",
    "haproxy": "on Debian: apt-get install haproxy",
    "nginx": "on Debian: apt-get install nginx-light",
    "wrk": "on Debian: apt-get install wrk",
    "cc": "on Debian: apt-get install gcc libc6-dev",
    "caddy": "make bench-full installs it",
    "traefik": "make bench-full installs it",
    PURE: "make bench-full sets it up",
}


@dataclass(frozen=True)
class ProxySetup:
    """The port of a proxy, the port of the upstream, and a directory for files."""

    port: int
    upstream: int
    directory: Path


Command = Callable[[str, ProxySetup], list[str]]  # the program's path and its setup -> argv


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
    kinds: tuple[Kind, ...] = get_args(Kind)
    variant: str | None = None  # other settings of a proxy, for runs with this option
    spins: bool = False  # uses its whole core even without requests

    def can(self, scenario: Scenario) -> bool:
        """Return whether it takes part in a scenario."""
        is_able = not scenario.is_tunnel or self.tunnels is not None
        return is_able and scenario.kind in self.kinds


def program(name: str) -> str:
    """Return the path of a program; raise BenchError, with the remedy, if it is not found."""
    path = PROXIES[name].find() if name in PROXIES else find_program(name)
    if path is None:
        raise BenchError(f"{name} not found; {_REMEDIES.get(name, 'is it installed?')}")
    return path


def upstream_name(scenario: Scenario) -> str:
    """Return the upstream of a scenario: nginx, or if that is not installed, our own."""
    if scenario.kind not in ("requests", "start"):
        return "stream"
    return "nginx" if find_program("nginx") else "asyncio"


def start_upstream(scenario: Scenario, cores: Cores, directory: Path) -> Process:
    """Return the upstream, on the cores of the load."""
    port = free_port()
    name = upstream_name(scenario)
    if name == "stream":
        command = [str(stream(directory)), "upstream", str(port)]
    elif name == "nginx":
        for size in _FILE_SIZES:
            (directory / str(size)).write_bytes(bytes(size))
        config = _fill(_HERE / "upstream.conf.in", ProxySetup(port, port, directory))
        command = [program("nginx"), "-e", "stderr", "-p", str(directory), "-c", config]
    else:
        command = [sys.executable, "-m", "bench.load.upstream", str(port)]
    return Process("upstream", command, port, cores.load, directory)


def start_proxy(
    name: str, scenario: Scenario, upstream: int, cores: Cores, directory: Path
) -> Process:
    """Return one of PROXIES, on the core of the proxies."""
    proxy = PROXIES[name]
    setup = ProxySetup(free_port(), upstream, directory)
    make = proxy.tunnels if scenario.is_tunnel and proxy.tunnels else proxy.requests
    return Process(name, make(program(name), setup), setup.port, cores.proxy, directory)


def stream(directory: Path) -> Path:
    """Return the program of stream.c, and compile it first if necessary."""
    path = directory / "stream"
    if not path.exists():
        command = [program("cc"), "-O2", "-o", str(path), str(_HERE / "stream.c")]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode:
            raise BenchError(f"stream.c cannot be compiled: {result.stderr.strip()}")
    return path


def _pure_python() -> str | None:
    python = _ROOT / ".venv/bin/python"
    return str(python) if python.exists() else None


def _ours(python: str, setup: ProxySetup) -> list[str]:
    return [python, "-m", "cmux_proxy", "--listen", f"127.0.0.1:{setup.port}"]


def _ours_with(variant: str, *flags: str) -> Proxy:
    def command(python: str, setup: ProxySetup) -> list[str]:
        return [*_ours(python, setup), *flags]

    return Proxy(_this_python, _OUR_VERSION, command, command, knows_connect=True, variant=variant)


def _haproxy_with(template: str, buffer: int, polling: str = "") -> Command:
    def command(path: str, setup: ProxySetup) -> list[str]:
        return [path, "-db", "-f", _fill(_RIVALS / template, setup, buffer=buffer, polling=polling)]

    return command


def _nginx(path: str, setup: ProxySetup) -> list[str]:
    config = _fill(_RIVALS / "nginx.conf.in", setup)
    return [path, "-e", "stderr", "-p", str(setup.directory), "-c", config]


def _caddy(path: str, setup: ProxySetup) -> list[str]:
    config = _fill(_RIVALS / "Caddyfile.in", setup)
    return [path, "run", "--adapter", "caddyfile", "--config", config]


def _traefik_with(template: str) -> Command:
    def command(path: str, setup: ProxySetup) -> list[str]:
        options = {
            "entryPoints.proxy.address": f"127.0.0.1:{setup.port}",
            "providers.file.filename": _fill(_RIVALS / template, setup),
            "providers.file.watch": "false",
            "global.checkNewVersion": "false",
            "global.sendAnonymousUsage": "false",
            "log.level": "ERROR",
        }
        return [path, *(f"--{name}={value}" for name, value in options.items())]

    return command


def _this_python() -> str | None:
    return sys.executable


def _find_haproxy() -> str | None:
    return find_program("haproxy")


def _fill(template: Path, setup: ProxySetup, **more: int | str) -> str:
    """Write a configuration from its template, and return its path."""
    text = Template(template.read_text(encoding="utf-8"))
    config = setup.directory / f"{setup.port}-{template.stem}"
    config.write_text(text.substitute(asdict(setup) | more), encoding="utf-8")
    return str(config)


_OUR_VERSION = ("-m", "cmux_proxy", "--version")
PROXIES: dict[str, Proxy] = {
    OURS: Proxy(_this_python, _OUR_VERSION, _ours, _ours, knows_connect=True),
    PURE: Proxy(_pure_python, _OUR_VERSION, _ours, _ours, knows_connect=True),
    MARK: Proxy(
        _find_haproxy,
        ("-v",),
        _haproxy_with("haproxy.cfg.in", 16384),
        _haproxy_with("haproxy-tcp.cfg.in", 16384),
    ),
    # With larger buffers HAProxy needs less CPU time for large transfers, and more for small ones.
    "haproxy-64k": Proxy(
        _find_haproxy,
        ("-v",),
        _haproxy_with("haproxy.cfg.in", 65536),
        _haproxy_with("haproxy-tcp.cfg.in", 65536),
        kinds=("transfer",),
    ),
    UNOBSERVED: _ours_with("observed", "--access-log", "off"),
    f"{OURS}-metrics": _ours_with("observed", "--admin", "127.0.0.1:0"),
    f"{OURS}-poll-50us": _ours_with("busy-poll", "--busy-poll", "50us"),
    f"{OURS}-poll-200us": _ours_with("busy-poll", "--busy-poll", "200us"),
    f"{MARK}-busy-polling": Proxy(
        _find_haproxy,
        ("-v",),
        _haproxy_with("haproxy.cfg.in", 16384, "busy-polling"),
        _haproxy_with("haproxy-tcp.cfg.in", 16384, "busy-polling"),
        variant="busy-poll",
        spins=True,
    ),
    "nginx": Proxy(lambda: find_program("nginx"), ("-v",), _nginx),
    "caddy": Proxy(lambda: find_program("caddy"), ("version",), _caddy),
    "traefik": Proxy(
        lambda: find_program("traefik"),
        ("version",),
        _traefik_with("traefik.yml.in"),
        _traefik_with("traefik-tcp.yml.in"),
    ),
}
