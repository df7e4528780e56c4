"""Compiles stream.c and relay.c, each once per directory."""

import subprocess
from pathlib import Path

from bench.load.processes import BenchError, find_program

_HERE = Path(__file__).parent


def compiled(name: str, directory: Path) -> Path:
    """Return the program of a C file in this folder, and compile it first if necessary.

    Raises BenchError if there is no compiler, or with what it reports.
    """
    path = directory / name
    if not path.exists():
        compiler = find_program("cc")
        if compiler is None:
            raise BenchError("cc not found; on Debian: apt-get install gcc libc6-dev")
        command = [compiler, "-O2", "-o", str(path), str(_HERE / f"{name}.c")]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode:
            raise BenchError(f"{name}.c cannot be compiled: {result.stderr.strip()}")
    return path
