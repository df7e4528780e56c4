"""python -m tools.release.twice: builds a release in two environments, and compares the files."""

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Final, NamedTuple

from tools.release.__main__ import ROOT, build

# Outputs of builds, and files that do not belong to the source.
_IGNORED: Final = shutil.ignore_patterns(
    ".git", ".venv*", ".*_cache", ".hypothesis", "__pycache__", "*.egg-info", "build", "dist",
    "site", "node_modules", ".work",
)  # fmt: skip


class Builder(NamedTuple):
    """The environment of a build: folder, time zone, and mask of file modes."""

    folder: str
    zone: str
    mask: int


_BUILDERS: Final = [
    Builder("a", "UTC", 0o022),
    Builder("somewhere/else", "Asia/Kathmandu", 0o077),
]


def main() -> int:
    """Build, print the checksum of each file, and return 0 if all files are equal, otherwise 1."""
    with tempfile.TemporaryDirectory() as name:
        sums = [_build(builder, Path(name)) for builder in _BUILDERS]
    for file, checksum in sums[0].items():
        is_equal = sums[1].get(file) == checksum
        print(f"{checksum}  {file}  {'equal in both builds' if is_equal else 'DIFFERENT'}")
    return 0 if sums[0] == sums[1] else 1


def _build(builder: Builder, folder: Path) -> dict[str, str]:
    os.environ["TZ"] = builder.zone
    time.tzset()
    os.umask(builder.mask)
    tree = folder / builder.folder / "tree"
    shutil.copytree(ROOT, tree, ignore=_IGNORED, copy_function=shutil.copyfile)
    return build(tree, folder / builder.folder / "dist")


if __name__ == "__main__":
    sys.exit(main())
