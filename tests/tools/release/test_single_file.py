"""The single file contains the complete program and its requirements."""

import asyncio
import os
import re
import shutil
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

from cmux_proxy import __version__
from cmux_proxy._build import COMPILED
from tests.helpers.origins import fixed_length, origin
from tests.helpers.proxies import environment
from tests.helpers.timing import soon
from tests.helpers.tools import finish, program, wait_for_output
from tests.helpers.workspaces import need_namespaces, registry
from tools.release.single_file import REQUIREMENTS, assemble

__all__ = ["registry"]

PACKAGES = ("cmux_proxy", "click", "aiohappyeyeballs", "mypy_extensions")
# The base interpreter of the virtual environment, which has none of these packages installed.
PYTHON: str = getattr(sys, "_base_executable", sys.executable)
ROOT = Path(__file__).parent.parent.parent.parent


@pytest.fixture
def single_file(tmp_path: Path) -> Path:
    """Return a single file that is made from the installed packages."""
    if COMPILED:
        pytest.skip("the single file is made of the pure build")
    folder = tmp_path / "packages"
    folder.mkdir()
    for name in PACKAGES:
        spec = find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        source = Path(spec.origin)
        if source.name == "__init__.py":
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source.parent, folder / name, ignore=ignored)
        else:
            shutil.copy(source, folder)
    target = tmp_path / "cmux-proxy.pyz"
    assemble(folder, target)
    return target


def test_the_pinned_packages_are_the_dependencies_without_machine_code() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    needed = {re.split(r"[^\w-]", text)[0] for text in project["dependencies"]} - {
        "psutil",
        "uvloop",
    }
    lines = REQUIREMENTS.read_text("ascii").splitlines()
    pinned = {line.partition("==")[0] for line in lines if "==" in line}
    assert pinned == needed
    assert sum("--hash=sha256:" in line for line in lines) == len(pinned)


async def test_it_is_the_complete_program_in_pure_python(single_file: Path) -> None:
    done = await finish(PYTHON, "-I", str(single_file), "--version", variables=environment())
    assert (done.status, done.errors) == (0, b"")
    assert done.out.startswith(f"cmux-proxy {__version__} (pure Python build, ".encode())


async def test_it_serves_with_several_workers(single_file: Path, tmp_path: Path) -> None:
    command = (PYTHON, "-I", str(single_file), "--listen", "127.0.0.1:0", "--workers", "2")
    async with (
        origin(fixed_length(b"hello")) as upstream,
        program(*command, folder=tmp_path, variables=environment()) as running,
    ):
        port = int(await wait_for_output(running, r"listening on 127\.0\.0\.1:(\d+)"))
        assert await wait_for_output(running, r"(asyncio, 2 workers)")
        reader, writer = await soon(asyncio.open_connection("127.0.0.1", port))
        route = f"X-Cmux-Port-Internal: {upstream.port}\r\nConnection: close"
        writer.write(f"GET / HTTP/1.1\r\nHost: a\r\n{route}\r\n\r\n".encode())
        assert (await soon(reader.read())).endswith(b"\r\n\r\nhello")
        writer.close()
        await writer.wait_closed()


async def test_it_runs_commands_in_workspaces(single_file: Path, registry: Path) -> None:
    need_namespaces()
    done = await finish(
        PYTHON, "-I", str(single_file), "run", "--no-outbound", "--workspace", "a-1",
        "--", "echo", "in",
        variables=environment(XDG_RUNTIME_DIR=os.environ["XDG_RUNTIME_DIR"]),
    )  # fmt: skip
    assert (done.errors, done.status, done.out) == (b"", 0, b"in\n")
