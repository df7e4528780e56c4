"""Fuzzes streams whose descriptors are used again: python -m fuzz.descriptors --seconds 60.

Starts processes that play programs (`fuzz/churn`), with AddressSanitizer unless --build says
otherwise. A process ends with its first failure; the next one begins behind it.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Final

from fuzz import sanitized

HOSTINGS: Final = ("native", "nested-asyncio", "nested-uvloop")
_MAX_FAILURES: Final = 5
# After so many seconds without a new program, a process hangs.
_PATIENCE: Final = 60.0
_SHOWN: Final = 70


def _play(options: argparse.Namespace, first: int, seconds: float) -> tuple[int, str]:
    """Play programs from that number on; return the number of the last one, and what it found."""
    arguments = [options.loop, options.seed, first, seconds, options.build]
    command = [sys.executable, "-m", "fuzz.churn", *arguments]
    checks = sanitized.variables() if options.build == "asan" else {}
    process = subprocess.run(
        [str(part) for part in command],
        env={**os.environ, **checks}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=seconds + _PATIENCE, check=False,
    )  # fmt: skip
    numbers = [line for line in process.stdout.splitlines() if line.startswith("program ")]
    last = int(numbers[-1].split()[1]) if numbers else first
    if process.returncode == 0:
        return last, ""
    text = sanitized.report_in(process.stderr) or "\n".join(process.stderr.splitlines()[-_SHOWN:])
    return last, text or f"status {process.returncode}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz; return 1 if something failed."""
    options = _options(arguments)
    first = number = options.program or 0
    start = time.monotonic()
    end = start + (0 if options.program is not None else options.seconds)
    failures = 0
    while failures < _MAX_FAILURES:
        last, failure = _play(options, number, max(0.0, end - time.monotonic()))
        number = last + 1
        if failure:
            failures += 1
            print(f"seed {options.seed}, program {last}: {failure}")
        if time.monotonic() >= end:
            break
    print(
        f"descriptors {options.loop} {options.build}: {number - first} programs in "
        f"{time.monotonic() - start:.0f} s, seed {options.seed}, {failures} failures"
    )
    return 1 if failures else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="fuzz.descriptors", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--program", type=int, help="play only this one")
    parser.add_argument("--loop", choices=HOSTINGS, default="native")
    parser.add_argument("--build", choices=("asan", "compiled"), default="asan")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
