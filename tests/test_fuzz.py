"""The harnesses of fuzzing, without a fuzzer: their seeds meet all conditions."""

from pathlib import Path

import pytest

table = pytest.importorskip("fuzz.parsers.table", reason="fuzzing is not part of the package")
seeds = pytest.importorskip("fuzz.seeds", reason="fuzzing is not part of the package")


@pytest.mark.parametrize("name", list(table.TARGETS))
def test_every_seed_meets_the_conditions_of_its_harness(name: str, tmp_path: Path) -> None:
    seeds.write_seeds(tmp_path, name)
    for path in sorted(tmp_path.iterdir()):
        table.TARGETS[name](path.read_bytes())
