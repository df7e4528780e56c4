"""What the tests of stores share: a certificate, and programs that only write down their use."""

from pathlib import Path

import pytest

from cmux_proxy.trust.step import Certificate
from tests.helpers.fake_programs import FakePrograms


@pytest.fixture
def programs(tmp_path: Path) -> FakePrograms:
    return FakePrograms(tmp_path / "bin")


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    path = tmp_path / "it is.pem"
    path.write_bytes(b"-----BEGIN\nAA\n-----END\n")
    return Certificate(str(path), path.read_bytes(), "cmux-proxy authority 12ab")
