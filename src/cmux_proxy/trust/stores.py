"""The stores of this machine and this user, each as a step that adds or removes a certificate.

Neighbours: `system_store.py`, `keychain.py` and `nss_databases.py` have one kind each.
"""

import os
import shutil
import sys
from typing import Final

from cmux_proxy.trust.keychain import keychain_step
from cmux_proxy.trust.nss_databases import nss_steps
from cmux_proxy.trust.step import Certificate, Step
from cmux_proxy.trust.system_store import system_steps

# Users other than root often lack them in PATH.
_SYSTEM_PATHS: Final = ("/usr/sbin", "/sbin")


def steps_for(certificate: Certificate, is_removal: bool) -> list[Step]:
    """Return the steps that make all stores trust a certificate, or no longer trust it."""
    home = os.path.expanduser("~")
    platform: str = sys.platform
    if platform == "darwin":
        system = [keychain_step(certificate, is_removal, find_program, home)]
    else:
        system = list(system_steps(certificate, is_removal, find_program))
    return [*system, *nss_steps(certificate, is_removal, find_program, home)]


def find_program(name: str) -> str | None:
    """Return the path of a program, None if it is not installed."""
    paths = [os.environ.get("PATH", os.defpath), *_SYSTEM_PATHS]
    return shutil.which(name, path=os.pathsep.join(paths))
