"""A wheel -> one file that any Python runs: the package in pure Python, and what it needs.

It lacks what is machine code and cannot be run from a zip file: the compiled hot path, uvloop, what
--admin needs, and psutil, which lists processes on macOS.
"""

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Final

from tools.release.archives import pack

REQUIREMENTS: Final = Path(__file__).parent / "requirements.txt"

_FIRST_LINE: Final = "#!/usr/bin/env python3"
_MAIN: Final = """\
import sys

if sys.version_info < (3, 11):
    sys.exit("cmux-proxy: error: Python 3.11 or newer is needed")

from cmux_proxy.__main__ import main

sys.exit(main())
"""
# Of what tells about a package, its licence goes along; the rest tells how it was installed.
_KEPT: Final = ("METADATA", "LICENSE", "LICENSE.txt")


def make(wheel: Path, target: Path) -> None:
    """Write the file."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        which = ["--no-deps", "--no-compile", "--only-binary=:all:", "--require-hashes"]
        subprocess.run(
            [*command, *which, "--target", name, "--requirement", str(REQUIREMENTS)], check=True
        )
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
        _tidy(folder)
        assemble(folder, target)


def assemble(folder: Path, target: Path) -> None:
    """Make one file of a folder that has all packages."""
    (folder / "__main__.py").write_text(_MAIN)
    pack(folder, target, _FIRST_LINE)


def _tidy(folder: Path) -> None:
    for path in (*folder.glob("bin"), *folder.glob("*.data"), *folder.rglob("__pycache__")):
        shutil.rmtree(path)
    for path in folder.glob("*.dist-info/**/*"):
        if path.is_file() and path.name not in _KEPT:
            path.unlink()
