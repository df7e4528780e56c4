"""The shape of the code: who imports whom, and where a reader finds it."""

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "cmux_proxy"
MODULES = sorted(path.relative_to(SOURCE) for path in SOURCE.rglob("*.py"))
ROOMS = sorted(path.parts[0] for path in MODULES if path.parts[1:] == ("__init__.py",))
HTTP1 = [path for path in MODULES if path.parts[0] == "http1"]

HTTP1_MAY_IMPORT = {
    "re", "enum", "typing", "http", "collections.abc", "mypy_extensions", "binascii", "hmac",
}  # fmt: skip


def imported(path: Path) -> set[str]:
    """Return the modules that a file names in its imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse((SOURCE / path).read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            names.add(node.module or "")
    return names


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_has_its_folder_of_tests(room: str) -> None:
    assert list((ROOT / "tests" / room).glob("test_*.py"))


def test_a_file_is_found_by_its_name_alone() -> None:
    names = Counter(path.name for path in MODULES)
    assert {name for name, times in names.items() if times > 1} == {"__init__.py", "errors.py"}


@pytest.mark.parametrize("path", HTTP1, ids=str)
def test_http1_imports_nothing_that_could_do_io(path: Path) -> None:
    outside = {name for name in imported(path) if not name.startswith("cmux_proxy.http1.")}
    assert outside <= HTTP1_MAY_IMPORT


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_every_file_says_what_it_knows(path: Path) -> None:
    assert ast.get_docstring(ast.parse((SOURCE / path).read_text("utf-8")))


def test_the_contracts_of_the_rooms_are_kept() -> None:
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    command = [sys.executable, "-c", program, "--no-cache", "--config", "pyproject.toml"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout
