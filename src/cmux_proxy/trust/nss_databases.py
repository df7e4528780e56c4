"""The NSS databases of browsers: those of Chromium and its kin on Linux, and Firefox's profiles.

NSS's program `certutil` changes them. Does not know the system's store: `system_store.py` does.
"""

import os
from collections.abc import Callable, Iterator
from glob import glob
from typing import Final

from cmux_proxy.trust.step import Certificate, Command, Failure, Step, run

_DATABASE: Final = "cert9.db"
# Below the home directory.
_CHROMIUM: Final = (".pki/nssdb", "snap/chromium/current/.pki/nssdb")
# Newer versions make it where data of programs is, unless they find one of the others.
_CHROMIUM_DATA: Final = "pki/nssdb"
_CHROMIUM_PROGRAMS: Final = (
    "chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge",
    "brave-browser",
)  # fmt: skip
_FIREFOX: Final = (
    ".mozilla/firefox/*",
    "snap/firefox/common/.mozilla/firefox/*",
    ".var/app/org.mozilla.firefox/.mozilla/firefox/*",
    "Library/Application Support/Firefox/Profiles/*",
)
_PROGRAM: Final = "certutil"
_MISSING: Final = (
    "certutil is not installed; it is in the package libnss3-tools (Debian), nss-tools (Fedora) or "
    "nss (Homebrew)"
)
# A trusted authority for TLS servers, and for nothing else.
_TRUST: Final = "C,,"


def nss_steps(
    certificate: Certificate, is_removal: bool, find: Callable[[str], str | None], home: str
) -> Iterator[Step]:
    """Yield the step for each database of this user; `find` returns the path of a program."""
    program = find(_PROGRAM)
    is_new = False
    places = [*(os.path.join(home, name) for name in _CHROMIUM), _data_place(home)]
    databases = list(filter(_is_database, places))
    if not databases and not is_removal and any(map(find, _CHROMIUM_PROGRAMS)):
        # Chromium would make it at its first certificate.
        databases = places[:1]
        is_new = True
    profiles = [
        path
        for pattern in _FIREFOX
        for path in sorted(glob(pattern, root_dir=home))
        if _is_database(os.path.join(home, path))
    ]
    for browser, paths in (
        ("Chromium, Chrome and others", databases),
        ("Firefox", [os.path.join(home, path) for path in profiles]),
    ):
        for path in paths:
            commands = _commands(program or _PROGRAM, path, certificate, is_removal)
            if is_new and path in databases:
                commands = [*_creation(program or _PROGRAM, path), *commands]
            yield Step(
                f"{browser}: {path}",
                commands,
                _check(program, path, certificate, is_removal),
                "" if program else _MISSING,
            )


def _data_place(home: str) -> str:
    """Return where newer versions of Chromium have their database."""
    data = os.environ.get("XDG_DATA_HOME", "")
    if not os.path.isabs(data):
        data = os.path.join(home, ".local", "share")
    return os.path.join(data, _CHROMIUM_DATA)


def _is_database(path: str) -> bool:
    return os.path.isfile(os.path.join(path, _DATABASE))


def _commands(program: str, path: str, certificate: Certificate, is_removal: bool) -> list[Command]:
    database = (program, "-d", f"sql:{path}")
    if is_removal:
        return [(*database, "-D", "-n", certificate.name)]
    return [(*database, "-A", "-t", _TRUST, "-n", certificate.name, "-i", certificate.path)]


def _creation(program: str, path: str) -> list[Command]:
    create = (program, "-d", f"sql:{path}", "-N", "--empty-password")
    return [("mkdir", "-p", "-m", "700", path), create]


def _check(
    program: str | None, path: str, certificate: Certificate, is_removal: bool
) -> Callable[[], bool]:
    """Return a function that tells whether the database is as it should be."""

    def is_done() -> bool:
        if program is None or not _is_database(path):
            return False
        try:
            listed = run((program, "-d", f"sql:{path}", "-L", "-n", certificate.name, "-a"))
        except Failure:
            return False
        if is_removal:
            return listed.returncode != 0
        return listed.returncode == 0 and _lines(listed.stdout) == _lines(certificate.pem)

    return is_done


def _lines(pem: bytes) -> list[bytes]:
    return pem.split()
