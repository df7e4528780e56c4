"""The version and the name of the build."""

import platform
import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from cmux_proxy import _build

ROOT = Path(__file__).parent.parent


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


@pytest.mark.parametrize(
    ("platform", "extra", "expected"),
    [("linux", "", False), ("linux", "uvloop", True), ("darwin", "", True), ("win32", "", False)],
)
def test_uvloop_is_a_dependency_where_native_io_is_never_built(
    platform: str, extra: str, expected: bool
) -> None:
    environment = {
        "sys_platform": platform, "platform_python_implementation": "CPython",
    }  # fmt: skip
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    needed = project["dependencies"] + project["optional-dependencies"].get(extra, [])
    found = [one for one in map(Requirement, needed) if one.name == "uvloop"]
    assert expected == any(one.marker is None or one.marker.evaluate(environment) for one in found)
