"""Output to full disks and closed pipes, and characters that a terminal lacks."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.proxies import MODULE, environment
from tests.helpers.timing import LATER
from tests.helpers.tools import finish

# A program whose name no Latin terminal has.
_NAME = "\u03bb"
_LISTEN = """
import socket, sys
with socket.create_server(("127.0.0.1", 0)) as sock:
    print(sock.getsockname()[1], flush=True)
    sys.stdin.read()
"""


async def into(target: str, *arguments: str) -> tuple[int, str]:
    """Run a command with standard output or error in a file; return its status and complaints."""
    command = ["sh", "-c", f'exec "$@" {target}', "sh", *MODULE, *arguments]
    done = await finish(*command, variables=environment())
    return done.status, done.errors.decode()


@pytest.mark.parametrize(
    "arguments",
    [("ports",), ("ports", "--json"), ("ports", "--watch"), ("--help",), ("ports", "--help"),
     ("workspace-ip", "a-1"), ("completion", "bash"), ("--version",), ("doctor",),
     ("forward", "0:1", "http://127.0.0.1")],
    ids=" ".join,
)  # fmt: skip
async def test_a_full_disk_is_one_line(arguments: tuple[str, ...]) -> None:
    expected = "cmux-proxy: error: cannot write to standard output: No space left on device\n"
    assert await into(">/dev/full", *arguments) == (1, expected)


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("ports", "x"), 2),
        (("wait", "1", "--timeout", "0"), 124),
        (("connect", "1", "http://127.0.0.1:1"), 1),
        (("healthcheck", "--listen", "127.0.0.1:1"), 1),
    ],
)
async def test_a_full_standard_error_changes_no_status(
    arguments: tuple[str, ...], status: int
) -> None:
    assert await into("2>/dev/full", *arguments) == (status, "")


@pytest.mark.parametrize("arguments", [("ports",), ("--help",), ("ports", "--watch")])
async def test_a_closed_pipe_is_not_reported(arguments: tuple[str, ...]) -> None:
    process = await asyncio.create_subprocess_exec(
        "sh", "-c", '"$@" | :', "sh", *MODULE, *arguments,
        stderr=asyncio.subprocess.PIPE, env=environment(),
    )  # fmt: skip
    _, errors = await asyncio.wait_for(process.communicate(), LATER)
    assert errors == b""


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "utf-8"])
@pytest.mark.parametrize("arguments", [("ports",), ("doctor", "--port", "{port}")])
def test_characters_that_a_terminal_lacks_are_escaped(
    encoding: str, arguments: tuple[str, ...], tmp_path: Path
) -> None:
    program = tmp_path / f"{_NAME}.py"
    program.write_text(_LISTEN)
    with subprocess.Popen(
        [sys.executable, program.name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    ) as other:
        assert other.stdout is not None
        port = other.stdout.readline().strip()
        done = subprocess.run(
            [*MODULE, *(argument.format(port=port) for argument in arguments)],
            capture_output=True, timeout=LATER, check=False,
            env=environment(PYTHONIOENCODING=encoding, CMUX_LISTEN=""),
        )  # fmt: skip
        other.communicate("")
    assert b"Traceback" not in done.stderr
    shown = _NAME.encode() if encoding == "utf-8" else b"\\u03bb"
    assert shown + b".py" in done.stdout
