"""Archives whose bytes depend on what is in them alone: neither on the clock nor on who packs them.

SOURCE_DATE_EPOCH is the one time that everything in them has, as reproducible-builds.org has it.
"""

import gzip
import os
import tarfile
import time
import zipfile
from pathlib import Path
from typing import Final

# What zip files can tell of earlier times is nothing.
_FIRST: Final = 315532800
_EXECUTABLE: Final = 0o100


def epoch() -> int:
    """Return the time that everything has, in seconds."""
    return max(_FIRST, int(os.environ.get("SOURCE_DATE_EPOCH") or _FIRST))


def repack_wheel(wheel: Path) -> None:
    """Write a wheel anew, without what it tells of the machine that has made it."""
    fresh = wheel.with_suffix(".new")
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(fresh, "w") as new:
        for name in old.namelist():
            new.writestr(_entry(name), old.read(name), compresslevel=9)
    fresh.replace(wheel)


def repack(archive: Path) -> None:
    """Write a tar.gz anew, without what it tells of the machine that has made it."""
    fresh = archive.with_suffix(".new")
    with (
        tarfile.open(archive, "r:gz") as old,
        fresh.open("wb") as file,
        gzip.GzipFile("", "wb", 9, file, epoch()) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as new,
    ):
        for member in sorted(old.getmembers(), key=lambda each: each.name):
            new.addfile(_plain(member), old.extractfile(member) if member.isfile() else None)
    fresh.replace(archive)


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    is_executable = member.isdir() or bool(member.mode & _EXECUTABLE)
    plain = member.replace(
        mtime=epoch(), mode=0o755 if is_executable else 0o644,
        uid=0, gid=0, uname="", gname="", deep=False,
    )  # fmt: skip
    # They would beat what was said above.
    plain.pax_headers = {}
    return plain


def pack(folder: Path, target: Path, first_line: str) -> None:
    """Write a folder's files as a program that Python runs: a line, and a zip file behind it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    with target.open("wb") as file:
        file.write(first_line.encode() + b"\n")
        with zipfile.ZipFile(file, "w") as packed:
            for path in files:
                entry = _entry(path.relative_to(folder).as_posix())
                packed.writestr(entry, path.read_bytes(), compresslevel=9)
    target.chmod(0o755)


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, time.gmtime(epoch())[:6])
    entry.compress_type = zipfile.ZIP_DEFLATED
    # As a Unix makes it, wherever it is made.
    entry.create_system = 3
    entry.external_attr = 0o100644 << 16
    return entry
