"""python -m tools.release FOLDER: source archive, pure wheel, single file, and their sums."""

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
    """Make the files of a tree in a folder; return their SHA-256 sums by their names."""
    folder.mkdir(parents=True, exist_ok=True)
    variables = {**os.environ, "CMUX_PROXY_COMPILE": "0", "SOURCE_DATE_EPOCH": str(epoch())}
    # The wheel is made of the source archive, so nothing that lies about in the tree is in it.
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
    """Make the files, and a list of their sums as sha256sum reads it."""
    lines = [f"{total}  {name}\n" for name, total in build(ROOT, folder).items()]
    (folder / "SHA256SUMS").write_text("".join(lines))
    sys.stdout.writelines(lines)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
