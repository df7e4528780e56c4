"""Runs all harnesses, one after the other: python -m fuzz.run --seconds 60.

Prints a line for each harness: executions, seconds, new entries of the corpus, crashes. Ends with
status 1 if something was found. Crashes, saved inputs and logs are in `fuzz/.work`.
"""

import argparse
import fnmatch
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from fuzz import sanitized
from fuzz.seeds import write_seeds
from tests.helpers.tools import SEARCHED

_HERE: Final = Path(__file__).parent
_WORK: Final = _HERE / ".work"
_MAX_INPUT: Final = 2048
# How many characters of a crash are printed.
_SHOWN: Final = 2000

# The share of the time for each harness; whole messages get the largest.
PARSERS: Final = {
    "request": 6, "response": 6, "chunked": 4, "response-chunked": 4, "trailers": 2, "target": 3,
    "switching": 2, "routing": 2, "length": 1, "configured": 1,
    "http2": 5, "http2-block": 3, "http2-fields": 3,
}  # fmt: skip
# By kind, event loop and build. Native I/O is that of ours, and runs with AddressSanitizer.
PROCESSES: Final = {
    "descriptors-native-asan": 8, "descriptors-nested-asyncio-asan": 8,
    "sockets-native-asan": 5, "sockets-nested-asyncio-asan": 5,
    "sockets-uvloop-compiled": 4, "sockets-asyncio-pure": 4,
    "nginx-native-asan": 3, "nginx-nested-asyncio-asan": 2,
    "nginx-uvloop-compiled": 2, "nginx-asyncio-pure": 2,
}  # fmt: skip
# The option that repeats one step of it.
_REPEATED_BY: Final = {
    "descriptors": "--program NUMBER", "sockets": "--step NUMBER", "nginx": "FILE",
}  # fmt: skip
_WEIGHTS: Final = PARSERS | PROCESSES


class Result(NamedTuple):
    """The result of one harness; `report` describes its crashes."""

    executions: int
    new: int
    crashes: int
    report: str


def main() -> int:
    """Run the selected harnesses; return 1 if one of them found something."""
    options = _options()
    names = [name for name in _WEIGHTS if any(fnmatch.fnmatch(name, p) for p in options.only)]
    if not names:
        sys.exit(f"no harness has such a name; there are {', '.join(_WEIGHTS)}")
    names = _without_missing(names)
    left = options.seconds - sum(map(_start, names))
    unit = left / max(1, sum(_WEIGHTS[name] for name in names))
    failed = False
    for name in names:
        start = time.monotonic()
        run = _run_parser if name in PARSERS else _run_process
        result = run(name, max(1, round(unit * _WEIGHTS[name])), options.seed)
        failed |= result.crashes > 0
        print(
            f"{name:32} {result.executions:9} executions {time.monotonic() - start:6.0f} s "
            f"{result.new:6} new {result.crashes:3} crashes",
            flush=True,
        )
        if result.report:
            print(result.report, flush=True)
    return 1 if failed else 0


def _without_missing(names: list[str]) -> list[str]:
    """Return the harnesses whose programs are installed; say which are not."""
    if shutil.which("nginx", path=SEARCHED) is None:
        print("nginx is not installed; its harnesses are skipped")
        names = [name for name in names if not name.startswith("nginx-")]
    if not sanitized.is_built():
        print("there is no build with gcc's AddressSanitizer; its harnesses are skipped")
        names = [name for name in names if not name.endswith("-asan")]
    return names


def _start(name: str) -> float:
    """Return after how many seconds a harness has its first input, and ends after its last."""
    return 2.0 if name in PARSERS or name.endswith("-asan") else 1.0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="for all harnesses together")
    parser.add_argument("--seed", type=int, default=int(time.time()) % 1_000_000)
    parser.add_argument("only", nargs="*", default=["*"], help="names or patterns of harnesses")
    return parser.parse_args()


def _run_parser(name: str, seconds: int, seed: int) -> Result:
    learned, seeds, found = (_folder(folder, name) for folder in ("learned", "seeds", "found"))
    write_seeds(seeds, name)
    status, log = _finish(name, [
        "fuzz.harness", name, str(learned), str(seeds), f"-dict={_HERE / 'http.dict'}",
        f"-max_len={_MAX_INPUT}", f"-max_total_time={seconds}", f"-seed={seed}",
        f"-artifact_prefix={found}/", "-timeout=20", "-rss_limit_mb=2048", "-print_final_stats=1",
    ])  # fmt: skip
    executions = _number(r"stat::number_of_executed_units: ([0-9]+)", log)
    new = _number(r"stat::new_units_added: +([0-9]+)", log)
    if status == 0:
        return Result(executions, new, 0, "")
    return Result(executions, new, 1, _report(name, log))


def _report(name: str, log: str) -> str:
    """Return a description of the crash, and the command that repeats it."""
    fault = re.search(r"=== Uncaught Python exception: ===\n(.*)", log)
    frames = re.findall(r'File "(.*)", line ([0-9]+), in .*\n( .*)', log)
    file = re.search(r"Test unit written to (\S+)", log)
    lines = [fault[1][:_SHOWN] if fault else log[-_SHOWN:]]
    lines += [f"{os.path.relpath(path)}:{number}:{line}" for path, number, line in frames[-1:]]
    if file:
        path = os.path.relpath(file[1])
        lines.append(f"repeat: {_python()} -m fuzz.harness {name} {path}")
    return "\n".join(f"    {line}" for line in lines)


def _run_process(name: str, seconds: int, seed: int) -> Result:
    """Run a harness of PROCESSES."""
    kind, _, rest = name.partition("-")
    loop, _, build = rest.rpartition("-")
    options = ["--loop", loop, "--build", build, "--seed", str(seed)]
    status, log = _finish(name, [f"fuzz.{kind}", *options, "--seconds", str(seconds)])
    executions = _number(r": ([0-9]+) (?:steps|responses|programs)", log)
    if status == 0:
        return Result(executions, 0, 0, "")
    command = [_python(), "-m", f"fuzz.{kind}", *options, _REPEATED_BY[kind]]
    lines = [line[:_SHOWN] for line in [*log.splitlines(), f"repeat: {' '.join(command)}"]]
    crashes = max(1, _number(r", ([0-9]+) failures", log))
    return Result(executions, 0, crashes, "\n".join(f"    {line}" for line in lines))


def _finish(name: str, command: Sequence[str]) -> tuple[int, str]:
    """Run one harness to its end; return its status and its log, which is saved too."""
    path = _folder("logs") / f"{name}.log"
    with path.open("wb") as log:
        process = subprocess.run(
            [sys.executable, "-m", *command],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False,
        )  # fmt: skip
    return process.returncode, path.read_text("utf-8", "replace")


def _folder(*names: str) -> Path:
    folder = _WORK.joinpath(*names)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _number(pattern: str, log: str) -> int:
    match = re.search(pattern, log)
    return int(match[1]) if match else 0


def _python() -> str:
    return os.path.relpath(sys.executable)


if __name__ == "__main__":
    sys.exit(main())
