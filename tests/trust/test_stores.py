"""The stores of this machine and user: of which system, and where programs are looked for."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cmux_proxy.trust import stores, system_store
from cmux_proxy.trust.step import Certificate
from cmux_proxy.trust.stores import find_program, steps_for
from cmux_proxy.trust.system_store import SystemStore
from tests.helpers.fake_programs import FakePrograms
from tests.helpers.proxies import environment
from tests.helpers.tools import missing, tool


def test_each_system_has_its_store_before_the_browsers(
    tmp_path: Path,
    certificate: Certificate,
    programs: FakePrograms,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("certutil", "chromium", "security", "update-it"):
        programs.add(name)
    store = SystemStore(str(tmp_path), ("update-it",), ("update-it",))
    monkeypatch.setattr(system_store, "SYSTEM_STORES", (store,))
    monkeypatch.setenv("PATH", str(programs.folder))
    monkeypatch.setenv("HOME", str(tmp_path))
    for platform, first in (("linux", "the system's store"), ("darwin", "the login keychain")):
        monkeypatch.setattr(sys, "platform", platform)
        steps = steps_for(certificate, False)
        assert steps[0].store.startswith(first)
        assert steps[1].store == f"Chromium, Chrome and others: {tmp_path}/.pki/nssdb"


def test_programs_of_administrators_are_found_without_path(
    programs: FakePrograms, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = programs.add("update-it")
    monkeypatch.setenv("PATH", "/nowhere")
    assert find_program("update-it") is None
    monkeypatch.setattr(stores, "_SYSTEM_PATHS", (str(programs.folder),))
    assert find_program("update-it") == path


# Runs in a mount namespace, in which the directories of the system are copies.
SCRIPT = """
set -e
mount --make-rprivate /
for folder in /usr/local/share/ca-certificates /etc/ssl/certs; do
    copy="$1/copy$folder"
    mkdir -p "$copy"
    cp -a "$folder/." "$copy"
    mount --bind "$copy" "$folder"
done
cmux() { "$2" -m cmux_proxy trust $3; }
# Without certutil, Chromium's database is left to the user.
cmux "$@" || true
openssl verify -CApath /etc/ssl/certs "$1/.local/state/cmux-proxy/authority.pem"
cp "$1/.local/state/cmux-proxy/authority.pem" "$1/kept.pem"
cmux "$@" --remove
! openssl verify -CApath /etc/ssl/certs "$1/kept.pem" 2> /dev/null
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs a mount namespace")
def test_debian_trusts_the_authority_and_no_longer(tmp_path: Path) -> None:
    tool("update-ca-certificates")
    if os.geteuid() != 0:
        missing("only root has mount namespaces")
    done = subprocess.run(
        [tool("unshare"), "-m", "sh", "-c", SCRIPT, "sh", tmp_path, sys.executable],
        env={**environment(HOME=str(tmp_path)), "XDG_STATE_HOME": ""},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("update-ca-certificates\n  done\n") == 1
    assert done.stdout.count("update-ca-certificates --fresh\n  done\n") == 1
    assert "authority.pem: OK" in done.stdout
