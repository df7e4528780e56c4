"""A step that changes one store: its commands, and whether they can be run here.

Does not know which stores there are; `stores.py` does. A step never runs `sudo` itself.
"""

import shlex
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

Command = Sequence[str]


class Certificate(NamedTuple):
    """A certificate to trust: the path of its file in PEM format, and a name of its own."""

    path: str
    pem: bytes
    name: str


class Failure(Exception):
    """A command has failed; the text says why."""


@dataclass(frozen=True)
class Step:
    """What changes one store.

    `obstacle` says why the commands cannot be run here, empty if they can; `needs_root` is for
    those of the system; `is_done` returns whether nothing has to be done.
    """

    store: str
    commands: Sequence[Command]
    is_done: Callable[[], bool]
    obstacle: str = ""
    needs_root: bool = False

    def by_hand(self) -> str:
        """Return the commands as one line for a shell."""
        prefix = ["sudo"] if self.needs_root else []
        return " && ".join(shlex.join([*prefix, *command]) for command in self.commands)

    def run(self) -> None:
        """Run the commands; raise Failure at the first one that fails."""
        for command in self.commands:
            finished = run(command)
            if finished.returncode != 0:
                lines = finished.stderr.decode("utf-8", "replace").split("\n")
                reasons = [line.strip() for line in lines if line.strip()]
                raise Failure(reasons[0] if reasons else f"status {finished.returncode}")


def run(command: Command) -> "subprocess.CompletedProcess[bytes]":
    """Run a command to its end, without input; raise Failure if it cannot be started."""
    try:
        return subprocess.run(  # noqa: S603 - all commands are in this package
            command, stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
    except OSError as error:
        raise Failure(f"cannot run {command[0]}: {error.strerror}") from None
