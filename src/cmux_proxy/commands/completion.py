"""cmux-proxy completion SHELL: prints a script that completes subcommands, flags and values.

The script runs the program at every Tab, so that completions are always up to date.
"""

from typing import Final

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

from cmux_proxy.commands.output import print_line

_NAME: Final = "cmux-proxy"
# The variable by which the script asks for completions; click derives it from the program's name.
_VARIABLE: Final = "_CMUX_PROXY_COMPLETE"
_SHELLS: Final[dict[str, type[ShellComplete]]] = {
    "bash": BashComplete,
    "zsh": ZshComplete,
    "fish": FishComplete,
}


@click.command("completion")
@click.argument("shell", type=click.Choice(list(_SHELLS)))
@click.pass_context
def completion_command(context: click.Context, /, shell: str) -> None:
    """Print a script that completes this command in a shell.

    In ~/.bashrc: eval "$(cmux-proxy completion bash)"
    """
    completing = _SHELLS[shell](context.find_root().command, {}, _NAME, _VARIABLE)
    print_line(completing.source().strip("\n"))
