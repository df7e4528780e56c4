"""The package compiled with AddressSanitizer: python -m fuzz.sanitized builds it.

It is a folder of its own beside the installed package, and `variables` are those with which a
process uses it. The interpreter itself is not compiled like that: its memory is seen because
PYTHONMALLOC gives each object an allocation.
"""

import functools
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
_WORK: Final = ROOT / "fuzz" / ".work" / "sanitized"
PACKAGE: Final = _WORK / "package"

_CHECKS: Final = "-fsanitize=address"
_FLAGS: Final = f"{_CHECKS} -fno-omit-frame-pointer -g1 -O1"
# How much freed memory is kept, in bytes, so that its use is found.
QUARANTINE: Final = 64 << 20
# Leaks are not looked for: the interpreter leaves memory behind at its end.
_OPTIONS: Final = f"detect_leaks=0:abort_on_error=1:quarantine_size_mb={QUARANTINE >> 20}"
# How many lines of a report are shown: what happened, and the first stack.
_SHOWN: Final = 25
_REPORT: Final = re.compile(r"^==[0-9]+==ERROR: AddressSanitizer", re.MULTILINE)


@functools.cache
def runtime() -> Path | None:
    """Return the library of the checks; None without gcc or its library."""
    gcc = shutil.which("gcc")
    if gcc is None:
        return None
    command = [gcc, "-print-file-name=libasan.so"]
    path = Path(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())
    return path if path.is_absolute() else None


def is_built() -> bool:
    """Return whether this build is there, and what it needs."""
    return PACKAGE.is_dir() and runtime() is not None


def variables() -> dict[str, str]:
    """Return the variables of a process that uses this build."""
    return {
        "PYTHONPATH": str(PACKAGE),
        "LD_PRELOAD": str(runtime()),
        "ASAN_OPTIONS": _OPTIONS,
        "PYTHONMALLOC": "malloc",
    }


def is_used_by(pid: int) -> bool:
    """Return whether a process has loaded this build."""
    return str(PACKAGE) in Path(f"/proc/{pid}/maps").read_text("utf-8")


def report_in(log: str) -> str:
    """Return the first lines of a report of the checks, or an empty text."""
    match = _REPORT.search(log)
    return "" if match is None else "\n".join(log[match.start() :].splitlines()[:_SHOWN])


def build() -> None:
    """Compile the package anew, with object files of its own."""
    shutil.rmtree(_WORK, ignore_errors=True)
    _WORK.mkdir(parents=True)
    config = _WORK / "setup.cfg"
    config.write_text(f"[build]\nbuild_base = {_WORK / 'build'}\n", "utf-8")
    environment = {
        "CMUX_PROXY_COMPILE": "1", "CC": "gcc", "CFLAGS": _FLAGS, "LDFLAGS": _CHECKS,
        "DIST_EXTRA_CONFIG": str(config),
    }  # fmt: skip
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "--no-deps", "--target", str(PACKAGE), str(ROOT)],
        env={**os.environ, **environment}, check=True,
    )  # fmt: skip


if __name__ == "__main__":
    _WORK.mkdir(parents=True, exist_ok=True)
    # `fuzz/run.py` says what is skipped without it.
    if runtime() is not None:
        print("compiling the package with AddressSanitizer; this takes some minutes", flush=True)
        build()
