"""python -m tools.release FOLDER: builds source archive, pure wheel, single file and checksums."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from tools.release import single_file
from tools.release.archives import epoch, repack, repack_wheel

ROOT: Final = Path(__file__).parent.parent.parent


def build(tree: Path, folder: Path) -> dict[str, str]:
    """Build the files of a source tree in a folder; return their SHA-256 sums by file name.

    Exits with the output of the build if it fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    variables = {**os.environ, "CMUX_PROXY_COMPILE": "0", "SOURCE_DATE_EPOCH": str(epoch())}
    # The wheel is built from the source archive, so it contains no stray files of the tree.
    done = subprocess.run(
        [sys.executable, "-m", "build", "--outdir", str(folder), str(tree)],
        env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        sys.exit(done.stdout)
    [archive] = folder.glob("*.tar.gz")
    [wheel] = folder.glob("*-none-any.whl")
    repack(archive)
    repack_wheel(wheel)
    version = wheel.name.split("-")[1]
    program = folder / f"cmux-proxy-{version}.pyz"
    single_file.make(wheel, program)
    files = sorted([archive, wheel, program])
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def main(folder: Path) -> None:
    """Build the files, and SHA256SUMS in the format of sha256sum."""
    lines = [f"{checksum}  {name}\n" for name, checksum in build(ROOT, folder).items()]
    (folder / "SHA256SUMS").write_text("".join(lines))
    sys.stdout.writelines(lines)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
