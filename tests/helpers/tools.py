"""Programs that tests run: found, or the test is skipped; where CI is true, missing ones fail."""

import asyncio
import os
import shutil
from collections.abc import Mapping
from typing import Final

import pytest

from tests.helpers.timing import later

# Where Debian keeps what is not for everybody.
_PATH: Final = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


def tool(name: str) -> str:
    """Return the path of a program; skip the test, or fail it in CI, when it is not installed."""
    path = shutil.which(name, path=_PATH)
    if path is None:
        text = f"{name} is not installed"
        if os.environ.get("CI") == "true":
            pytest.fail(text)
        pytest.skip(text)
    return path


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
