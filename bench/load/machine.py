"""What a benchmark ran on: the machine, the commit, the build and the versions."""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

from bench.load.programs import OURS, PROXIES, PURE

_ROOT = Path(__file__).parents[2]


def machine() -> dict[str, str | int]:
    """Return the CPU, how many of its cores there are for us, and the kernel."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "architecture": platform.machine(),
        "kernel": platform.release(),
    }


def commit() -> dict[str, str | bool]:
    """Return the commit, and whether files differ from it; results do not count."""
    return {
        "hash": _git("rev-parse", "HEAD") or "unknown",
        "dirty": bool(_git("status", "--porcelain", "--", ".", ":!bench/results")),
    }


def builds() -> dict[str, str]:
    """Return how our own builds call themselves."""
    return {name: said for name in (OURS, PURE) if (said := _version_of(name))}


def versions() -> dict[str, str]:
    """Return the version of everything that took part or could have."""
    found = {
        "python": platform.python_version(),
        "uvloop": _package_version("uvloop"),
        "wrk": _said("wrk", "-v"),
        "cc": _said("cc", "--version"),
        **{name: _version_of(name) for name in PROXIES if not _is_known(name)},
    }
    return {name: version for name, version in found.items() if version}


def _is_known(name: str) -> bool:
    """Return whether another entry tells the version."""
    return name in (OURS, PURE) or PROXIES[name].variant is not None


def _version_of(name: str) -> str:
    path = PROXIES[name].find()
    return _said(path, *PROXIES[name].version) if path else ""


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


def _said(*command: str) -> str:
    """Return the first line of what a command prints, wherever it prints it, or nothing."""
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (result.stdout + result.stderr).strip().partition("\n")[0]
