"""The machine, the commit, the builds and the versions of a benchmark."""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

from bench.load.programs import OURS, PROXIES, PURE

_ROOT = Path(__file__).parents[2]


def machine() -> dict[str, str | int]:
    """Return the CPU, the number of usable cores, and the kernel."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "architecture": platform.machine(),
        "kernel": platform.release(),
    }


def commit() -> dict[str, str | bool]:
    """Return the commit, and whether files other than results differ from it."""
    return {
        "hash": _git("rev-parse", "HEAD") or "unknown",
        "dirty": bool(_git("status", "--porcelain", "--", ".", ":!bench/results")),
    }


def builds() -> dict[str, str]:
    """Return the versions of the builds of cmux-proxy."""
    return {name: version for name in (OURS, PURE) if (version := _version_of(name))}


def versions() -> dict[str, str]:
    """Return the versions of all programs that can take part."""
    by_name = {
        "python": platform.python_version(),
        "uvloop": _package_version("uvloop"),
        "wrk": _first_line("wrk", "-v"),
        "h2load": _first_line("h2load", "--version"),
        "openssl": _first_line("openssl", "version"),
        "cc": _first_line("cc", "--version"),
        **{name: _version_of(name) for name in PROXIES if not _is_known(name)},
    }
    return {name: version for name, version in by_name.items() if version}


def _is_known(name: str) -> bool:
    """Return whether another entry has the version."""
    return name in (OURS, PURE) or PROXIES[name].variant is not None


def _version_of(name: str) -> str:
    path = PROXIES[name].find()
    return _first_line(path, *PROXIES[name].version) if path else ""


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("model name", "Model"):
            return value.strip()
    return platform.processor() or "unknown"


def _package_version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(_ROOT), *arguments]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return result.stdout.strip()


def _first_line(*command: str) -> str:
    """Return the first line that a command prints to its output or errors, or nothing."""
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (result.stdout + result.stderr).strip().partition("\n")[0]
