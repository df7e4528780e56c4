"""cmux-proxy completion SHELL: what a shell needs to complete subcommands, flags and values.

The shell asks the program itself at every Tab, so what it completes is never out of date.
"""

from typing import Final

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

from cmux_proxy.commands.output import say

_NAME: Final = "cmux-proxy"
# By this variable click can tell that a shell asks; it makes its name of the program's.
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
    """Print what makes a shell complete this command.

    In ~/.bashrc: eval "$(cmux-proxy completion bash)"
    """
    completing = _SHELLS[shell](context.find_root().command, {}, _NAME, _VARIABLE)
    say(completing.source().strip("\n"))
