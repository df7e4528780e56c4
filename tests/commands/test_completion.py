"""cmux-proxy completion: Tab in bash, zsh and fish themselves, on a terminal."""

import contextlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cmux_proxy import cli
from cmux_proxy.commands.completion import _SHELLS
from tests.helpers.proxies import environment
from tests.helpers.terminal import Terminal, terminal
from tests.helpers.tools import finish, tool

# How to start each shell without settings of this machine, and with a known prompt.
START = {
    "bash": ("--norc", "--noprofile", "-i"),
    "zsh": ("-f", "-i"),
    "fish": ("--no-config", "-i"),
}
PROMPT = {
    "bash": "PS1='rea''dy> '",
    "zsh": "unsetopt zle_bracketed_paste prompt_sp; PS1='rea''dy> '",
    "fish": "function fish_prompt; echo -n 'rea''dy> '; end",
}
SET_UP = {
    "bash": 'eval "$(cmux-proxy completion bash)"',
    "zsh": "autoload -U compinit; compinit -D; source <(cmux-proxy completion zsh)",
    "fish": "cmux-proxy completion fish | source",
}
every_shell = pytest.mark.parametrize(
    "shell",
    [pytest.param(name, marks=pytest.mark.slow if name != "bash" else ()) for name in START],
)


def variables(folder: Path) -> dict[str, str]:
    """Return variables with the command in the path, as if it were installed."""
    command = folder / "bin" / "cmux-proxy"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m cmux_proxy "$@"\n')
    command.chmod(0o755)
    path = os.pathsep.join([str(command.parent), "/usr/bin", "/bin"])
    return environment(PATH=path, HOME=str(folder), TERM="xterm", LC_ALL="C.UTF-8")


@contextlib.asynccontextmanager
async def shell_on_a_terminal(shell: str, folder: Path) -> AsyncIterator[Terminal]:
    """Run a shell that completes the command."""
    command = (tool(shell), *START[shell])
    async with terminal(*command, variables=variables(folder)) as (screen, _process):
        screen.type(PROMPT[shell] + "\n")
        await screen.shows("ready> ")
        screen.type(SET_UP[shell] + "\n")
        await screen.shows("ready> ")
        yield screen


@every_shell
async def test_tab_completes_subcommands_flags_and_values(shell: str, tmp_path: Path) -> None:
    async with shell_on_a_terminal(shell, tmp_path) as screen:
        for typed, expected in [
            ("cmux-proxy forw\t--hel\t\n", "Usage: cmux-proxy forward [OPTIONS]"),
            ("cmux-proxy workspace-\t--help\n", "Usage: cmux-proxy workspace-ip [OPTIONS] NAME"),
            ("cmux-proxy --log-l\tdeb\t--vers\t\n", "cmux-proxy 0."),
            ("cmux-proxy completion fi\t| head -n 1\n", "function _cmux_proxy_completion;"),
        ]:
            screen.type(typed)
            await screen.shows(expected)
            await screen.shows("ready> ")


@every_shell
@pytest.mark.slow
async def test_tab_alone_lists_all_subcommands(shell: str, tmp_path: Path) -> None:
    async with shell_on_a_terminal(shell, tmp_path) as screen:
        screen.type("cmux-proxy \t\t")
        await screen.shows(*cli.proxy_command.commands)


@every_shell
@pytest.mark.slow
async def test_tab_after_a_flag_for_a_file_completes_files(shell: str, tmp_path: Path) -> None:
    (tmp_path / "my-flags.toml").write_text("nonsense = 1\n")
    async with shell_on_a_terminal(shell, tmp_path) as screen:
        screen.type("cd\n")
        await screen.shows("ready> ")
        screen.type("cmux-proxy --config my-fl\t\n")
        await screen.shows("Unknown key 'nonsense' in 'my-flags.toml'")


async def test_bad_variables_and_files_do_not_prevent_completion(tmp_path: Path) -> None:
    variables = {"COMP_WORDS": "cmux-proxy --config none --wor", "COMP_CWORD": "3"}
    done = await finish(
        sys.executable, "-m", "cmux_proxy",
        variables=environment(CMUX_LISTEN="x", _CMUX_PROXY_COMPLETE="bash_complete", **variables),
    )  # fmt: skip
    assert (done.status, done.errors) == (0, b"")
    assert done.out.split() == [b"plain,--workspace-host", b"plain,--workers"]


@pytest.mark.parametrize("shell", list(_SHELLS))
def test_it_prints_a_script_for_each_shell(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["completion", shell]) == 0
    assert "cmux-proxy" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["tcsh"], ["bash", "zsh"]])
def test_another_shell_is_2_and_one_line(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["completion", *arguments]) == 2
    out, errors = capsys.readouterr()
    assert (out, errors.count("\n")) == ("", 1)
