"""The release workflow is valid, and runs only make targets and modules that exist."""

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


def test_its_targets_are_in_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    lines = re.findall(r"run: make ([a-z -]+)$", TEXT, re.MULTILINE)
    targets = [target for line in lines for target in line.split()]
    assert "release" in targets
    for target in targets:
        assert re.search(rf"^{target}: .*## ", makefile, re.MULTILINE), target


def test_its_modules_exist() -> None:
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
    # All uses of an action have the same version.
    actions = {action for action, _ in used}
    assert len(actions) == len({action.split("@")[0] for action in actions})


def test_no_checkout_persists_its_credentials() -> None:
    step = r"uses: actions/checkout@.*\n +with:\n +persist-credentials: false\n"
    assert len(re.findall(step, TEXT)) == TEXT.count("actions/checkout@") > 0
