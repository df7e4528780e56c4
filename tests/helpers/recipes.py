"""Recipes of the documentation: fenced blocks, pasted into a shell, with the test's ports.

A recipe is one or more blocks of a page, in the order of the page. A block of Python whose first
line is a file name becomes that file; any other block of Python is a program to run.
"""

import contextlib
import os
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from tests.helpers.proxies import environment
from tests.helpers.wire import closed_port

ROOT: Final = Path(__file__).parent.parent.parent

_BLOCK: Final = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
_FILE: Final = re.compile(r"# (?P<name>[\w-]+\.py)\n")
# The ports in the documentation's examples.
_PORT: Final = re.compile(r"(?<![\d.])(?:8080|3000|3001|6379|16379)(?![\d.]*\d)")

# Where a recipe sleeps for a second, the test waits until the servers listen.
_SLEEP: Final = """
sleep() {{ {python} - {servers} <<'END'
import socket, sys
for server in sys.argv[1:]:
    host, _, port = server.rpartition(":")
    address = server if "/" in server else (host or "127.0.0.1", int(port))
    family = socket.AF_UNIX if "/" in server else socket.AF_INET
    while socket.socket(family).connect_ex(address):
        pass
END
}}
"""


_STATUS: Final = 'echo "status $?"'


class Block(NamedTuple):
    """A fenced block of a page."""

    page: str
    language: str
    text: str

    @property
    def first(self) -> str:
        """Its first line, which identifies it on its page."""
        return self.text.partition("\n")[0]


class Recipe(NamedTuple):
    """Blocks, identified by how they begin, and the output that they must print.

    `servers` are the ports, addresses or paths that the blocks wait for. `needs` are those of the
    services that must run before.
    """

    page: str
    beginnings: tuple[str, ...]
    prints: str
    servers: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()


def blocks() -> list[Block]:
    """Return the blocks of the README and the guides that can be pasted."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs" / "guides").glob("*.md"))]
    return [
        Block(page.relative_to(ROOT).as_posix(), match["language"], match["text"])
        for page in pages
        for match in _BLOCK.finditer(page.read_text("utf-8"))
        if match["language"] in ("sh", "python")
    ]


def block(page: str, beginning: str) -> Block:
    """Return the only block of a page with this beginning."""
    [match] = [
        candidate
        for candidate in blocks()
        if candidate.page == page and candidate.text.startswith(beginning)
    ]
    return match


class Bench:
    """The environment of a recipe: its ports, and a folder with the programs that it runs."""

    def __init__(self, folder: Path, ports: dict[str, int]) -> None:
        self._folder = folder
        self.ports = ports
        programs = folder / "bin"
        programs.mkdir(parents=True)
        # They behave like a virtual environment in which everything is installed already.
        module = f'exec {sys.executable} -m cmux_proxy "$@"'
        python = f'[ "$2" = pip ] || exec {sys.executable} "$@"'
        for name, line in {"cmux-proxy": module, "python3": python}.items():
            (programs / name).write_text(f"#!/bin/sh\n{line}\n")
            (programs / name).chmod(0o755)
        path = f"{programs}{os.pathsep}{os.environ['PATH']}{os.pathsep}/usr/sbin"
        # The proxy listens here unless a recipe sets an address.
        listen = f"127.0.0.1:{ports['8080']}"
        self.variables = environment(PATH=path, HOME=str(folder), CMUX_LISTEN=listen)

    def script(self, recipe: Recipe) -> str:
        """Return the shell script of a recipe."""
        servers = " ".join(map(self.adapt, recipe.servers))
        wait = _SLEEP.format(python=shlex.quote(sys.executable), servers=servers)
        *before, last = [self._pasted(block(recipe.page, text)) for text in recipe.beginnings]
        # A reader waits for the servers before pasting the next block.
        return "\n".join([wait, *before, "sleep 1" if any(before) else "", last, _STATUS])

    def adapt(self, text: str) -> str:
        """Return a text of the documentation with the test's ports, and files in its folder."""
        text = text.replace("/tmp/", f"{self._folder}/")
        return _PORT.sub(lambda match: str(self.ports[match[0]]), text)

    def _pasted(self, fence: Block) -> str:
        text = self.adapt(fence.text)
        name = _FILE.match(text)
        if fence.language == "sh":
            return text
        if name is not None:
            (self._folder / name["name"]).write_text(text)
            return ""
        return f"python3 - <<'EOF'\n{text}EOF"


@contextlib.contextmanager
def bench(folder: Path) -> Iterator[Bench]:
    """Reserve a port for each port of the documentation."""
    names = ("8080", "3000", "3001", "6379", "16379")
    with contextlib.ExitStack() as stack:
        ports = {name: stack.enter_context(closed_port()) for name in names}
    yield Bench(folder, ports)
