"""Programs that tests run: found, or the test is skipped; where CI is true, missing ones fail."""

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

# Where Debian keeps what is not for everybody.
SEARCHED: Final = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


def tool(name: str) -> str:
    """Return the path of a program; skip the test, or fail it in CI, when it is not installed."""
    path = shutil.which(name, path=SEARCHED)
    if path is None:
        missing(f"{name} is not installed")
    return path


def missing(text: str) -> NoReturn:
    """Skip the test, or fail it in CI, since something is not there that it needs."""
    if os.environ.get("CI") == "true":
        pytest.fail(text)
    pytest.skip(text)


class Finished:
    """What a program left behind."""

    def __init__(self, status: int, out: bytes, errors: bytes) -> None:
        self.status = status
        self.out = out
        self.errors = errors


async def finish(
    *command: str, stdin: bytes = b"", variables: Mapping[str, str] | None = None
) -> Finished:
    """Run a program to its end."""
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
    """Run a program in a folder, for as long as the block; whatever it starts ends with it.

    What it says, and complains about, is its standard output.
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


async def says(process: asyncio.subprocess.Process, pattern: str) -> str:
    """Return the first group of a pattern, once the program says something that matches."""
    assert process.stdout is not None
    said = ""
    while line := await later(process.stdout.readline()):
        said += line.decode("utf-8", "replace")
        if match := re.search(pattern, said):
            return match[1]
    raise AssertionError(f"it ended, and said: {said}")
