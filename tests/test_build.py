"""The version and the name of the build."""

import platform
import re
from importlib.metadata import version

import pytest

from cmux_proxy import _build


def test_the_version_is_that_of_the_package() -> None:
    assert _build.__version__ == version("cmux-proxy")
    assert re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+", _build.__version__)


@pytest.mark.parametrize(("compiled", "name"), [(False, "pure Python"), (True, "compiled")])
def test_the_build_names_the_interpreter(
    compiled: bool, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_build, "COMPILED", compiled)
    interpreter = f"{platform.python_implementation()} {platform.python_version()}"
    assert _build.build_name() == f"{name} build, {interpreter}"
