"""Programs that tests run: a missing program skips the test, or fails it where CI is "true"."""

import asyncio
import contextlib
import os
import re
import shutil
import signal
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Final, NoReturn

import pytest

from tests.helpers.timing import later

# PATH, and where Debian installs programs for administrators.
SEARCHED: Final = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


def tool(name: str) -> str:
    """Return the path of a program; skip the test, or fail it in CI, if it is not installed."""
    path = shutil.which(name, path=SEARCHED)
    if path is None:
        missing(f"{name} is not installed")
    return path


def missing(text: str) -> NoReturn:
    """Skip the test, or fail it in CI, because something that it needs is missing."""
    if os.environ.get("CI") == "true":
        pytest.fail(text)
    pytest.skip(text)


class Finished:
    """The exit status, the output and the error output of a program."""

    def __init__(self, status: int, out: bytes, errors: bytes) -> None:
        self.status = status
        self.out = out
        self.errors = errors


async def finish(
    *command: str, stdin: bytes = b"", variables: Mapping[str, str] | None = None
) -> Finished:
    """Run a program until it ends."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE if stdin else asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **(variables or {})},
    )
    try:
        out, errors = await later(process.communicate(stdin or None))
    except BaseException:
        process.kill()
        await process.wait()
        raise
    assert process.returncode is not None
    return Finished(process.returncode, out, errors)


@contextlib.asynccontextmanager
async def program(
    *command: str, folder: Path, variables: Mapping[str, str] | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a program in a folder for as long as the block; its child processes end with it.

    Its standard error goes to its standard output.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env={**os.environ, **(variables or {})},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await later(process.communicate())


async def wait_for_output(process: asyncio.subprocess.Process, pattern: str) -> str:
    """Return the first group of a pattern, once the output of the program matches."""
    assert process.stdout is not None
    output = ""
    while line := await later(process.stdout.readline()):
        output += line.decode("utf-8", "replace")
        if match := re.search(pattern, output):
            return match[1]
    raise AssertionError(f"the program has ended; its output: {output}")
