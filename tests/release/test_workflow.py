"""The workflow that releases: valid, and it runs verbs and modules that there are."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
WORKFLOW = ROOT / ".github" / "workflows" / "release.yml"
TEXT = WORKFLOW.read_text("utf-8")


def test_it_is_a_workflow() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows",
         str(WORKFLOW)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_its_verbs_are_in_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    lines = re.findall(r"run: make ([a-z -]+)$", TEXT, re.MULTILINE)
    verbs = [verb for line in lines for verb in line.split()]
    assert "release" in verbs
    for verb in verbs:
        assert re.search(rf"^{verb}: .*## ", makefile, re.MULTILINE), verb


def test_its_modules_are_there() -> None:
    names = set(re.findall(r"python3 -m (release[.\w]*)", TEXT))
    assert names == {"release.ready"}
    assert (ROOT / "release" / "ready.py").is_file()


def test_only_the_last_job_may_write() -> None:
    before, _, last = TEXT.partition("\n  publish:")
    assert "write" not in before
    assert "needs: [check, files, wheels]" in last
    assert "secrets." not in TEXT
