"""The harnesses of fuzzing, without a fuzzer: seeds meet all conditions, reports are found."""

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
