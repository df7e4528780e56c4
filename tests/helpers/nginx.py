"""A running nginx."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

from tests.helpers.timing import later
from tests.helpers.tools import tool


@contextlib.asynccontextmanager
async def nginx(folder: Path, text: str) -> AsyncIterator[int]:
    """Run nginx; return its port. `text` is its configuration with {folder}, {port} and {user}."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen(511)
        port: int = sock.getsockname()[1]
        config = folder / "nginx.conf"
        # Workers of an nginx that root starts would lose the right to read the folder.
        user = "user root;" if os.geteuid() == 0 else ""
        config.write_text(text.format(folder=folder, port=port, user=user))
        sock.set_inheritable(True)
        process = await asyncio.create_subprocess_exec(
            *(tool("nginx"), "-p", str(folder), "-c", str(config), "-e", str(folder / "error.log")),
            # nginx inherits the listening sockets in this variable, so no other program can take
            # the port.
            env={**os.environ, "NGINX": f"{sock.fileno()};"},
            pass_fds=[sock.fileno()],
            stderr=asyncio.subprocess.PIPE,
        )
    try:
        yield port
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        _out, errors = await later(process.communicate())
        assert process.returncode == 0, errors
