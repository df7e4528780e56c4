"""The harnesses of fuzzing, without a fuzzer: seeds meet all conditions, reports are found."""

import subprocess
import sys
from pathlib import Path

import pytest

table = pytest.importorskip("fuzz.parsers.table", reason="fuzzing is not part of the package")
sanitized = pytest.importorskip("fuzz.sanitized", reason="fuzzing is not part of the package")
seeds = pytest.importorskip("fuzz.seeds", reason="fuzzing is not part of the package")


@pytest.mark.parametrize("name", list(table.TARGETS))
def test_every_seed_meets_the_conditions_of_its_harness(name: str, tmp_path: Path) -> None:
    seeds.write_seeds(tmp_path, name)
    for path in sorted(tmp_path.iterdir()):
        table.TARGETS[name](path.read_bytes())


def test_a_report_of_address_sanitizer_begins_with_its_reason() -> None:
    stack = [f"    #{number} 0x7f in function file.c:1" for number in range(100)]
    report = ["==12==ERROR: AddressSanitizer: heap-use-after-free on address 0x7f", *stack]
    found = sanitized.report_in("\n".join(["a line before", "=" * 65, *report])).splitlines()
    assert found == report[: len(found)]
    assert 10 < len(found) < 40
    assert sanitized.report_in("no report") == ""


@pytest.mark.parametrize(("build", "status"), [("asan", 1), ("compiled", 0)])
def test_programs_for_address_sanitizer_are_not_played_without_it(build: str, status: int) -> None:
    pytest.importorskip("cmux_proxy.net._reactor")
    command = [sys.executable, "-m", "fuzz.churn", "native", "seed", "0", "0", build]
    done = subprocess.run(command, capture_output=True, text=True, cwd=sanitized.ROOT, check=False)
    assert (done.returncode, "program 0" in done.stdout) == (status, status == 0), done.stderr
    assert ("not the one with AddressSanitizer" in done.stderr) is (status == 1)
