"""The workflow that releases: valid, and it runs verbs and modules that there are."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent.parent
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
    names = set(re.findall(r"python3 -m (tools[.\w]*)", TEXT))
    assert names == {"tools.release.ready"}
    assert (ROOT / "tools" / "release" / "ready.py").is_file()


def test_only_the_last_job_may_write() -> None:
    before, _, last = TEXT.partition("\n  publish:")
    assert "write" not in before
    assert "needs: [check, files, wheels]" in last
    assert "secrets." not in TEXT
    assert before.count("permissions:\n  contents: read\n") == 1
    assert TEXT.count("id-token: write") == 1


def test_actions_are_pinned_by_commit_and_the_comment_has_the_version() -> None:
    used = re.findall(r"uses: (\S+)(.*)$", TEXT, re.MULTILINE)
    assert used
    for action, comment in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action), action
        assert re.fullmatch(r" # v[0-9]+\.[0-9]+\.[0-9]+", comment), action
    # Of one action there is one version.
    assert len({action for action, _ in used}) == len({each.split("@")[0] for each, _ in used})


def test_no_checkout_leaves_its_credentials_behind() -> None:
    step = r"uses: actions/checkout@.*\n +with:\n +persist-credentials: false\n"
    assert len(re.findall(step, TEXT)) == TEXT.count("actions/checkout@") > 0
