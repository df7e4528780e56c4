"""The state directory of a test, and clients that trust the authority in it."""

import ssl
from pathlib import Path

import pytest

from cmux_proxy.server.authority_file import AuthorityFile, state_directory


def use_state(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AuthorityFile:
    """Let this process and those that it starts keep their state in a folder."""
    monkeypatch.setenv("XDG_STATE_HOME", str(folder))
    return AuthorityFile(state_directory())


def client_trusting(file: AuthorityFile, *protocols: str) -> ssl.SSLContext:
    """Return a client that trusts the authority of a file, and nothing else."""
    context = ssl.create_default_context(cafile=file.certificate_path)
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context
