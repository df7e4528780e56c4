"""python -m cmux_proxy is the command line."""

import gc
import os
import runpy
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from cmux_proxy import __version__, cli
from tests.helpers.proxies import MODULE, environment, path_with
from tests.helpers.timing import LATER


@pytest.fixture(autouse=True)
def _leave_this_process_alone() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    threshold = gc.get_threshold()
    yield
    gc.set_threshold(*threshold)
    for number, handler in before.items():
        signal.signal(number, handler)


def test_the_module_runs_the_command_line_and_exits_with_its_status(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cli, "main", lambda: 7)
    with pytest.raises(SystemExit) as caught:
        runpy.run_module("cmux_proxy", run_name="__main__")
    assert caught.value.code == 7


def test_importing_the_module_runs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "main", lambda: pytest.fail("it ran"))
    runpy.run_module("cmux_proxy.__main__", run_name="imported")


@pytest.mark.parametrize(("flag", "status"), [("--version", 0), ("--nonsense", 2)])
def test_a_process_gets_the_flags_and_returns_the_status(flag: str, status: int) -> None:
    done = subprocess.run(
        [*MODULE, flag], capture_output=True, text=True, env=environment(), timeout=LATER
    )
    assert done.returncode == status
    output, other = (done.stdout, done.stderr) if status == 0 else (done.stderr, done.stdout)
    assert (__version__ if status == 0 else flag) in output
    assert (output.count("\n"), other) == (1, "")


def test_the_module_does_not_need_to_be_run_from_anywhere(tmp_path: object) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cmux_proxy", "--version"],
        cwd=str(tmp_path),
        capture_output=True,
        text=True,
        env=environment(),
        timeout=LATER,
    )
    assert done.stdout.startswith(f"cmux-proxy {__version__} (")


def test_a_start_hardly_looks_for_garbage() -> None:
    program = (
        "import gc, sys; from cmux_proxy.__main__ import main; sys.argv[1:] = ['--version']\n"
        "def count(): return gc.get_stats()[0]['collections']\n"
        "before = count()\n"
        "try: main()\n"
        "finally: print(count() - before)"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=LATER)
    assert int(done.stdout.splitlines()[-1]) < 10


# Signals that come while the command is loaded

AT_AN_IMPORT = """
import os, signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == os.environ["AT"] and not self.is_done:
            self.is_done = True
            os.kill(os.getpid(), int(os.environ["NUMBER"]))
    is_done = False
sys.meta_path.insert(0, Finder())
"""


def interrupted(
    folder: Path, module: str, number: int, *words: str, within: Sequence[str] = ()
) -> tuple[int, str, str]:
    """Run the command, with a signal when it imports a module; return status and both outputs."""
    (folder / "sitecustomize.py").write_text(AT_AN_IMPORT)
    done = subprocess.run(
        [*within, *MODULE, *words],
        capture_output=True,
        text=True,
        env=environment(PYTHONPATH=path_with(folder), AT=module, NUMBER=str(int(number))),
        timeout=LATER,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("words", "module"),
    [
        (words, module)
        for words, last in [
            (["--listen", "127.0.0.1:0"], "cmux_proxy.server.proxy"),
            (["ports"], "cmux_proxy.machine.listening"),
            (["wait", "1"], "cmux_proxy.commands.wait"),
        ]
        for module in ("cmux_proxy.cli", "click", last)
    ],
    ids=str,
)
def test_a_signal_while_the_command_is_loaded_ends_it_quietly(
    words: Sequence[str], module: str, number: signal.Signals, tmp_path: Path
) -> None:
    assert interrupted(tmp_path, module, number, *words) == (-number, "", "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_server_starts_drains_it(number: signal.Signals, tmp_path: Path) -> None:
    words = ("--listen", "127.0.0.1:0", "--loop", "uvloop")
    status, _out, errors = interrupted(tmp_path, "uvloop", number, *words)
    assert (status, errors) == (0, "")


@pytest.mark.parametrize("module", ["click", "uvloop"])
def test_the_first_process_of_a_container_loses_no_signal(module: str, tmp_path: Path) -> None:
    within = ("unshare", "--pid", "--fork", "--kill-child")
    if os.getuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("process namespaces take root, and Linux")
    words = ("--listen", "127.0.0.1:0", "--loop", "uvloop")
    status, _out, errors = interrupted(tmp_path, module, signal.SIGTERM, *words, within=within)
    assert (status, errors) == (128 + signal.SIGTERM if module == "click" else 0, "")


def test_a_public_name_is_loaded_when_it_is_used() -> None:
    program = (
        "import sys, cmux_proxy; assert 'asyncio' not in sys.modules; "
        "assert set(cmux_proxy.__all__) <= set(dir(cmux_proxy)); "
        "from cmux_proxy import *; print(Proxy.__name__, hasattr(cmux_proxy, 'nothing'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=LATER
    )
    assert (done.stdout, done.stderr) == ("Proxy False\n", "")
