"""The store of a Linux system: a directory of certificates, and the command that reads it.

curl, git, Python and most programs trust what is in it; browsers have their own, in
`nss_databases.py`. Only root may write there.
"""

import os
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from cmux_proxy.trust.step import Certificate, Step


class SystemStore(NamedTuple):
    """A directory, and the commands after a file has been added or removed."""

    directory: str
    update: tuple[str, ...]
    update_after_removal: tuple[str, ...]


SYSTEM_STORES: Final = (
    # Debian, Ubuntu, Alpine
    SystemStore(
        "/usr/local/share/ca-certificates",
        ("update-ca-certificates",),
        ("update-ca-certificates", "--fresh"),
    ),
    # Fedora, RHEL
    SystemStore(
        "/etc/pki/ca-trust/source/anchors",
        ("update-ca-trust", "extract"),
        ("update-ca-trust", "extract"),
    ),
)


def system_steps(
    certificate: Certificate, is_removal: bool, find: Callable[[str], str | None]
) -> Iterator[Step]:
    """Yield the step for each store of this system; `find` returns the path of a program."""
    name = certificate.name.replace(" ", "-") + ".crt"
    for store in SYSTEM_STORES:
        if not os.path.isdir(store.directory) or find(store.update[0]) is None:
            continue
        path = os.path.join(store.directory, name)
        if is_removal:
            commands = [("rm", "-f", path), store.update_after_removal]
        else:
            commands = [("install", "-m", "644", certificate.path, path), store.update]
        may_write = os.access(store.directory, os.W_OK)
        yield Step(
            f"the system's store {store.directory}",
            [(find(command[0]) or command[0], *command[1:]) for command in commands],
            _check(path, certificate.pem, is_removal),
            "" if may_write else "this user may not write there",
            needs_root=not may_write,
        )


def _check(path: str, pem: bytes, is_removal: bool) -> Callable[[], bool]:
    """Return a function that tells whether the file is as it should be."""

    def is_done() -> bool:
        try:
            with open(path, "rb") as file:
                return not is_removal and file.read() == pem
        except FileNotFoundError:
            return is_removal
        except OSError:
            return False

    return is_done
