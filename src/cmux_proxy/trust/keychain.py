"""The login keychain of macOS, which Safari and Chrome use, changed by its program `security`.

macOS asks the user for a password itself.
"""

import os
from collections.abc import Callable
from typing import Final

from cmux_proxy.trust.step import Certificate, Command, Failure, Step, run

_PROGRAM: Final = "security"
_KEYCHAIN: Final = "Library/Keychains/login.keychain-db"


def keychain_step(
    certificate: Certificate, is_removal: bool, find: Callable[[str], str | None], home: str
) -> Step:
    """Return the step for the keychain; `find` returns the path of a program."""
    program = find(_PROGRAM)
    keychain = os.path.join(home, _KEYCHAIN)
    name = program or _PROGRAM
    commands: list[Command] = [
        (name, "add-trusted-cert", "-r", "trustRoot", "-p", "ssl", "-k", keychain, certificate.path)
    ]
    if is_removal:
        commands = [
            (name, "remove-trusted-cert", certificate.path),
            (name, "delete-certificate", "-c", certificate.name, keychain),
        ]

    def is_done() -> bool:
        if not is_removal or program is None:
            return False
        try:
            found = run((program, "find-certificate", "-c", certificate.name, keychain))
        except Failure:
            return False
        return found.returncode != 0

    obstacle = "" if program else f"{_PROGRAM} is not installed"
    return Step(f"the login keychain {keychain}", commands, is_done, obstacle)
