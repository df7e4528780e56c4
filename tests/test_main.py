"""python -m cmux_proxy: the command line by another name."""

import runpy
import subprocess
import sys

import pytest

from cmux_proxy import __version__, cli
from tests.helpers.proxies import MODULE, environment
from tests.helpers.timing import LATER


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
def test_a_process_gets_the_flags_and_hands_back_the_status(flag: str, status: int) -> None:
    done = subprocess.run(
        [*MODULE, flag], capture_output=True, text=True, env=environment(), timeout=LATER
    )
    assert done.returncode == status
    told, other = (done.stdout, done.stderr) if status == 0 else (done.stderr, done.stdout)
    assert (__version__ if status == 0 else flag) in told
    assert (told.count("\n"), other) == (1, "")


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
