"""A short, small soak finds no problem.

Resident memory has not settled after such a short time, so it may grow as much as in other tests.
`make soak` checks it closely.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from tests.helpers.loops import io_of, loop_flags
from tests.helpers.proxies import environment

ROOT: Final = Path(__file__).parents[2]
SHORT: Final = (
    *("--seconds", "6", "--warm-up", "2", "--every", "1", "--most-growth", "32"),
    *("--websockets", "40", "--aborts", "40", "--clients", "24"),
)


async def soak(*flags: str) -> tuple[int, str]:
    """Run a soak; return its exit status and its output."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.soak", *SHORT, *flags),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=ROOT,
        env=environment(),
    )
    out, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode()


def saved_result(directory: Path) -> dict[str, Any]:
    """Return the only saved result."""
    (path,) = directory.glob("*.json")
    data: dict[str, Any] = json.loads(path.read_text())
    return data


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
async def test_a_short_soak_runs_all_jobs_and_finds_no_problem(
    loop_name: str, tmp_path: Path
) -> None:
    status, out = await soak(*loop_flags(loop_name), "--output", str(tmp_path))
    assert status == 0, out
    data = saved_result(tmp_path)
    assert data["problems"] == []
    assert data["program"].endswith(f", {io_of(loop_name)})")
    assert data["bytes_per_websocket"] is not None
    assert {name for name, done in data["done"].items() if sum(done.values())} == {
        "traffic", "aborts", "idle", "echo",
    }  # fmt: skip
    assert data["done"]["traffic"]["restarts"] > 0
    assert data["samples"]


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
async def test_a_problem_is_one_line_and_the_status_is_1(loop_name: str) -> None:
    flags = (
        "--seconds",
        "2",
        "--warm-up",
        "1",
        "--most-growth",
        "-1000",
        "--in-turns",
        "--websockets",
        "0",
        "--workers",
        "2",
    )
    status, out = await soak(*loop_flags(loop_name), "--no-save", *flags)
    problems = [line for line in out.splitlines() if line.startswith("soak: ")]
    assert (status, len(problems)) == (1, 1), out
    assert "resident memory has grown" in problems[0]
