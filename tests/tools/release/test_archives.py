"""Archives have the same bytes on every machine, and contain the files that were added."""

import gzip
import io
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.helpers.timing import LATER
from tools.release.archives import epoch, pack, repack, repack_wheel

FILES = {"a-1/b.py": b"print('b')\n", "a-1/a.txt": b"a" * 10_000, "a-1/run": b"#!/bin/sh\n"}


@pytest.fixture(autouse=True)
def source_date_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the time of all entries."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")


def archive(path: Path, names: list[str], moment: float, owner: str, mask: int) -> bytes:
    """Return the source archive that a machine builds, after repacking."""
    with tarfile.open(path, "w:gz") as new:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(FILES[name]), moment
            member.uname = member.gname = owner
            member.uid = member.gid = len(owner)
            member.mode = (0o777 if name.endswith("run") else 0o666) & ~mask
            new.addfile(member, io.BytesIO(FILES[name]))
    repack(path)
    return path.read_bytes()


def test_two_machines_make_the_same_source_archive(tmp_path: Path) -> None:
    names = list(FILES)
    one = archive(tmp_path / "one.tar.gz", names, 1e9 + 0.25, "root", 0o022)
    other = archive(tmp_path / "other.tar.gz", names[::-1], 1.5e9, "somebody", 0o077)
    assert one == other
    assert gzip.decompress(one)


def test_a_source_archive_keeps_its_files(tmp_path: Path) -> None:
    path = tmp_path / "one.tar.gz"
    archive(path, list(FILES), 1e9, "root", 0o022)
    with tarfile.open(path) as packed:
        members = packed.getmembers()
        files = {member.name: packed.extractfile(member) for member in members}
        assert {name: file.read() for name, file in files.items() if file is not None} == FILES
        assert {member.mtime for member in members} == {1_700_000_000}
        modes = {member.name: member.mode for member in members}
    assert modes == {"a-1/a.txt": 0o644, "a-1/b.py": 0o644, "a-1/run": 0o755}


def test_two_machines_make_the_same_wheel(tmp_path: Path) -> None:
    made = []
    for name, mode, year in [("one", 0o644, 2001), ("other", 0o600, 2020)]:
        path = tmp_path / f"{name}.whl"
        with zipfile.ZipFile(path, "w") as wheel:
            for file, content in FILES.items():
                entry = zipfile.ZipInfo(file, (year, 1, 1, 0, 0, 0))
                entry.external_attr = mode << 16
                wheel.writestr(entry, content)
        repack_wheel(path)
        made.append(path.read_bytes())
        with zipfile.ZipFile(path) as wheel:
            assert {file: wheel.read(file) for file in wheel.namelist()} == FILES
            assert wheel.namelist() == list(FILES)
    assert made[0] == made[1]


def test_a_program_packed_from_a_folder_does_not_depend_on_the_time(tmp_path: Path) -> None:
    made = []
    for name, moment in [("one", 1e9), ("other", 1.5e9)]:
        folder = tmp_path / name
        (folder / "part").mkdir(parents=True)
        (folder / "__main__.py").write_text("import part.b\n")
        (folder / "part" / "__init__.py").touch()
        (folder / "part" / "b.py").write_bytes(FILES["a-1/b.py"])
        os.utime(folder / "__main__.py", (moment, moment))
        target = tmp_path / f"{name}.pyz"
        pack(folder, target, "#!/usr/bin/env python3")
        made.append(target.read_bytes())
    assert made[0] == made[1]
    done = subprocess.run(
        [sys.executable, "-I", str(target)], capture_output=True, timeout=LATER, check=True
    )
    assert done.stdout == b"b\n"
    assert os.access(target, os.X_OK)


@pytest.mark.parametrize(("text", "expected"), [("", 315532800), ("0", 315532800), ("2e9", None)])
def test_the_epoch_is_a_time_that_archives_can_represent(
    text: str, expected: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", text)
    if expected is None:
        with pytest.raises(ValueError, match="invalid literal"):
            epoch()
    else:
        assert epoch() == expected
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    assert epoch() == 315532800
