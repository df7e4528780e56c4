"""python -m tools.release.twice: builds a release twice, in different places, and compares."""

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Final, NamedTuple

from tools.release.__main__ import ROOT, build

# What a build leaves behind, and what is not of the source.
_LEFT_OUT: Final = shutil.ignore_patterns(
    ".git", ".venv*", ".*_cache", ".hypothesis", "__pycache__", "*.egg-info", "build", "dist",
    "site", "node_modules", ".work",
)  # fmt: skip


class Builder(NamedTuple):
    """Somebody whose machine is set up in one way."""

    folder: str
    zone: str
    mask: int


_BUILDERS: Final = [
    Builder("a", "UTC", 0o022),
    Builder("somewhere/else", "Asia/Kathmandu", 0o077),
]


def main() -> int:
    """Build, print what came of it, and return the exit status."""
    with tempfile.TemporaryDirectory() as name:
        sums = [_build(builder, Path(name)) for builder in _BUILDERS]
    for file, total in sums[0].items():
        same = sums[1].get(file) == total
        print(f"{total}  {file}  {'twice the same' if same else 'DIFFERENT'}")
    return 0 if sums[0] == sums[1] else 1


def _build(builder: Builder, folder: Path) -> dict[str, str]:
    os.environ["TZ"] = builder.zone
    time.tzset()
    os.umask(builder.mask)
    tree = folder / builder.folder / "tree"
    shutil.copytree(ROOT, tree, ignore=_LEFT_OUT, copy_function=shutil.copyfile)
    return build(tree, folder / builder.folder / "dist")


if __name__ == "__main__":
    sys.exit(main())
