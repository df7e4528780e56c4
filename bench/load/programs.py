"""The upstream and the proxies: which program each is and how it is started."""

import sys
from collections.abc import Callable
from pathlib import Path
from string import Template

from bench.load.processes import BenchError, Cores, Process, find_program, free_port

PACKAGES = {"haproxy": "haproxy", "wrk": "wrk", "nginx": "nginx-light"}
OURS = "cmux-proxy"
_HERE = Path(__file__).parent
_RIVALS = _HERE.parent / "rivals"


def require(*names: str) -> None:
    """Raise BenchError, with the remedy, unless all these programs are installed."""
    missing = [name for name in names if find_program(name) is None]
    if missing:
        packages = " ".join(PACKAGES.values())
        raise BenchError(
            f"{' and '.join(missing)} not found; on Debian: apt-get install {packages}"
        )


def program(name: str) -> str:
    """Return the path of a program; raise BenchError when it is not installed."""
    path = find_program(name)
    if path is None:
        raise BenchError(f"{name} not found; on Debian: apt-get install {PACKAGES[name]}")
    return path


def upstream_name() -> str:
    """Return which upstream there is: nginx, or where that is not installed one of ours."""
    return "nginx" if find_program("nginx") else "asyncio"


def start_upstream(cores: Cores, directory: Path) -> Process:
    """Return the upstream, on the cores of the load."""
    port = free_port()
    if upstream_name() == "nginx":
        config = _fill(_HERE / "upstream.conf.in", port, directory)
        command = [program("nginx"), "-e", "stderr", "-p", str(directory), "-c", str(config)]
    else:
        command = [sys.executable, "-m", "bench.load.origin", str(port)]
    return Process("upstream", command, port, cores.load, directory)


def start_proxy(name: str, cores: Cores, directory: Path) -> Process:
    """Return one of PROXIES, on the core of the proxies."""
    port = free_port()
    return Process(name, PROXIES[name](port, directory), port, cores.proxy, directory)


def _ours(port: int, directory: Path) -> list[str]:
    return [sys.executable, "-m", "cmux_proxy", "--listen", f"127.0.0.1:{port}"]


def _haproxy(port: int, directory: Path) -> list[str]:
    config = _fill(_RIVALS / "haproxy.cfg.in", port, directory)
    return [program("haproxy"), "-db", "-f", str(config)]


PROXIES: dict[str, Callable[[int, Path], list[str]]] = {OURS: _ours, "haproxy": _haproxy}


def _fill(template: Path, port: int, directory: Path) -> Path:
    """Write a configuration with its blanks filled in and return its path."""
    text = Template(template.read_text(encoding="utf-8"))
    config = directory / f"{template.stem}-{port}"
    config.write_text(text.substitute(port=port, directory=directory), encoding="utf-8")
    return config
