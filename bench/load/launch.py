"""Starts the upstream and the proxies of a scenario, each on its cores.

`programs` has the proxies, `processes` what a started one can tell.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from bench.load.certificate import certificate
from bench.load.commands import ProxySetup, fill
from bench.load.compiler import compiled
from bench.load.processes import Cores, Process, find_program, free_port, free_ports
from bench.load.programs import PROXIES, program
from bench.load.scenarios import Scenario

_HERE = Path(__file__).parent
_FILE_SIZES = (100_000,)


def upstream_name(scenario: Scenario) -> str:
    """Return the upstream of a scenario: nginx, or if that is not installed, our own."""
    if scenario.has_stream_upstream:
        return "stream"
    return "nginx" if find_program("nginx") else "asyncio"


def start_upstream(
    scenario: Scenario, cores: Cores, directory: Path, more_ports: Sequence[int] = ()
) -> Process:
    """Return the upstream, on the cores of the load; it listens on the other ports too."""
    # The last port is the one that is awaited, because servers listen in the order of their ports.
    ports = [*more_ports, another_port(more_ports)]
    command = _upstream_command(upstream_name(scenario), ports, directory)
    return Process("upstream", command, ports[-1], cores.load, directory)


def another_port(ports: Sequence[int]) -> int:
    """Return a free port that is none of these, on which nothing listens yet."""
    return next(port for port in free_ports(len(ports) + 1) if port not in ports)


def _upstream_command(name: str, ports: Sequence[int], directory: Path) -> list[str]:
    if name == "stream":
        return [str(compiled("stream", directory)), "upstream", str(ports[-1])]
    if name == "asyncio":
        return [sys.executable, "-m", "bench.load.upstream", *map(str, ports)]
    for size in _FILE_SIZES:
        (directory / str(size)).write_bytes(bytes(size))
    listen = "\n        ".join(f"listen 127.0.0.1:{port} backlog=4096;" for port in ports)
    setup = ProxySetup(ports[0], ports[0], directory)
    config = fill(_HERE / "upstream.conf.in", setup, listen=listen)
    return [program("nginx"), "-e", "stderr", "-p", str(directory), "-c", config]


def start_proxy(
    name: str, scenario: Scenario, upstream: int, cores: Cores, directory: Path
) -> Process:
    """Return one of PROXIES, on the core of the proxies."""
    proxy = PROXIES[name]
    pem = certificate(directory) if scenario.is_tls else None
    logs = None if proxy.is_unlogged else scenario.logs
    setup = ProxySetup(free_port(), upstream, directory, logs, scenario.is_http2, certificate=pem)
    make = proxy.tunnels if scenario.is_tunnel and proxy.tunnels else proxy.requests
    return Process(name, make(program(name), setup), setup.port, cores.proxy, directory)
