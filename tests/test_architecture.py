"""The shape of the code: who imports whom, and where a reader finds it."""

import ast
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "cmux_proxy"
MODULES = sorted(path.relative_to(SOURCE) for path in SOURCE.rglob("*.py"))
KINDS = ("py", "pyi", "pyx", "pxd", "pxi", "js", "css", "html")
SOURCES = [path for kind in KINDS for path in SOURCE.rglob(f"*.{kind}")]
ROOMS = sorted(path.parts[0] for path in MODULES if path.parts[1:] == ("__init__.py",))
HTTP1 = [path for path in MODULES if path.parts[0] == "http1"]

PAGE = ROOT / "docs" / "development" / "architecture.md"
PAGES = [*ROOT.glob("*.md"), ROOT / "fuzz" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

# As CONTRIBUTING.md says.
MAX_LINES = 250

# A path of this repository in a page: `relay/failures.py`, `tests/helpers/feeding.py`.
NAMED_FILE = re.compile(r"`(?P<path>(?:[\w.-]+/)+[\w.-]+\.(?:py|pyx|js|html|css|toml))`")
TREE = re.compile(r"^```\nsrc/cmux_proxy/\n(?P<lines>.*?)^```$", re.DOTALL | re.MULTILINE)
ENTRY = re.compile(r"^(?P<indent> +)(?P<name>[\w.]+/?) +\S")

# What Cython code cimports and declares to reach the kernel.
SYSTEM_CALL = re.compile(
    r"(?:posix|libc)\.(?:unistd|fcntl|ioctl|mman|select|signal|stdio)\b|"
    r"cdef extern from [\"<]+(?:sys/|unistd|fcntl|poll|pthread|stdio)|"
    r"\b(?:recv|send|read|write|splice|accept4?|epoll_\w+)\(int \w*fd",
)

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


def listed() -> list[str]:
    """Return the files in the tree of docs/development/architecture.md."""
    tree = TREE.search(PAGE.read_text("utf-8"))
    assert tree is not None
    files: list[str] = []
    room = ""
    for entry in filter(None, map(ENTRY.match, tree["lines"].splitlines())):
        if len(entry["indent"]) == 2:
            room = entry["name"] if entry["name"].endswith("/") else ""
        if not entry["name"].endswith("/"):
            files.append(room + entry["name"])
    return files


def is_found(path: str) -> bool:
    """Return whether a page names a file that is there, from the top, the package or the tests."""
    return any((folder / path).exists() for folder in (ROOT, SOURCE, ROOT / "tests"))


def test_the_architecture_page_has_a_line_for_each_file() -> None:
    sources = [path for path in SOURCES if path.suffix in (".py", ".pyx", ".pxi", ".js")]
    # The other .pxd files only declare what the .pyx file of the same name defines.
    sources += [path for path in SOURCE.rglob("*.pxd") if not path.with_suffix(".pyx").exists()]
    files = [path.relative_to(SOURCE).as_posix() for path in sources]
    expected = [path for path in files if "/__init__.py" not in path]
    assert sorted(set(expected) ^ set(listed())) == [], f"add or remove lines in {PAGE}"


def test_no_file_is_too_long() -> None:
    lengths = {path: len(path.read_text("utf-8").splitlines()) for path in SOURCES}
    long = [path.relative_to(SOURCE) for path, lines in lengths.items() if lines > MAX_LINES]
    assert long == [], f"CONTRIBUTING.md allows {MAX_LINES} lines"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    paths = [match["path"] for match in NAMED_FILE.finditer(page.read_text("utf-8"))]
    assert [path for path in paths if not is_found(path)] == []


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


def test_only_net_makes_system_calls_in_cython() -> None:
    found = {
        path.relative_to(SOURCE).parts[0]
        for path in SOURCES
        if path.suffix in (".pyx", ".pxd", ".pxi") and SYSTEM_CALL.search(path.read_text("utf-8"))
    }
    assert found == {"net"}
