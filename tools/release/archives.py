"""Archives whose bytes depend only on their contents, not on the clock or the machine.

All entries have the time of SOURCE_DATE_EPOCH, as reproducible-builds.org specifies it.
"""

import gzip
import os
import tarfile
import time
import zipfile
from pathlib import Path
from typing import Final

# Zip files cannot represent earlier times (1980-01-01).
_MIN_EPOCH: Final = 315532800
_EXECUTABLE: Final = 0o100


def epoch() -> int:
    """Return the time of all entries, in seconds since 1970.

    Raises ValueError if SOURCE_DATE_EPOCH is not an integer.
    """
    return max(_MIN_EPOCH, int(os.environ.get("SOURCE_DATE_EPOCH") or _MIN_EPOCH))


def repack_wheel(wheel: Path) -> None:
    """Rewrite a wheel without the traces of the machine that built it."""
    fresh = wheel.with_suffix(".new")
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(fresh, "w") as new:
        for name in old.namelist():
            new.writestr(_entry(name), old.read(name), compresslevel=9)
    fresh.replace(wheel)


def repack(archive: Path) -> None:
    """Rewrite a tar.gz without the traces of the machine that built it."""
    fresh = archive.with_suffix(".new")
    with (
        tarfile.open(archive, "r:gz") as old,
        fresh.open("wb") as file,
        gzip.GzipFile("", "wb", 9, file, epoch()) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as new,
    ):
        for member in sorted(old.getmembers(), key=lambda member: member.name):
            new.addfile(_plain(member), old.extractfile(member) if member.isfile() else None)
    fresh.replace(archive)


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    is_executable = member.isdir() or bool(member.mode & _EXECUTABLE)
    plain = member.replace(
        mtime=epoch(), mode=0o755 if is_executable else 0o644,
        uid=0, gid=0, uname="", gname="", deep=False,
    )  # fmt: skip
    # PAX headers would override the values above.
    plain.pax_headers = {}
    return plain


def pack(folder: Path, target: Path, first_line: str) -> None:
    """Write a folder's files as a program that Python runs: `first_line`, then a zip file."""
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
    # On every system, the entry says that it was created on Unix.
    entry.create_system = 3
    entry.external_attr = 0o100644 << 16
    return entry
