"""A wheel -> one file that any Python runs: the pure Python package with its requirements.

Machine code cannot be run from a zip file. So the file lacks the compiled hot path, uvloop, the
requirements of --admin, and psutil, which lists processes on macOS.
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
# The other files of a .dist-info folder describe the installation.
_KEPT_METADATA: Final = ("METADATA", "LICENSE", "LICENSE.txt")


def make(wheel: Path, target: Path) -> None:
    """Install the requirements, add the wheel, and write all of them as one file."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        flags = ["--no-deps", "--no-compile", "--only-binary=:all:", "--require-hashes"]
        subprocess.run(
            [*command, *flags, "--target", name, "--requirement", str(REQUIREMENTS)], check=True
        )
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
        _tidy(folder)
        assemble(folder, target)


def assemble(folder: Path, target: Path) -> None:
    """Write a folder that contains all packages as one file."""
    (folder / "__main__.py").write_text(_MAIN)
    pack(folder, target, _FIRST_LINE)


def _tidy(folder: Path) -> None:
    for path in (*folder.glob("bin"), *folder.glob("*.data"), *folder.rglob("__pycache__")):
        shutil.rmtree(path)
    for path in folder.glob("*.dist-info/**/*"):
        if path.is_file() and path.name not in _KEPT_METADATA:
            path.unlink()
