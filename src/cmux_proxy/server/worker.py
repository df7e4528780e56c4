"""One process: which event loop, which signals, and the drain at the end."""

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from typing import Any

from cmux_proxy.config import Config
from cmux_proxy.errors import ConfigError
from cmux_proxy.server.descriptors import raise_limit
from cmux_proxy.server.proxy import Proxy

_log = logging.getLogger("cmux_proxy")

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def loop_factory(name: str) -> tuple[str, LoopFactory]:
    """Return the name and the maker of the event loop that `auto`, `uvloop` or `asyncio` picks.

    Raises ConfigError when uvloop is asked for and not installed.
    """
    if name != "asyncio":
        try:
            import uvloop
        except ImportError:
            if name == "uvloop":
                raise ConfigError("loop", "uvloop is not installed; use auto or asyncio") from None
        else:
            return "uvloop", uvloop.new_event_loop
    return "asyncio", asyncio.new_event_loop


def run(config: Config | None = None, on_start: Callable[[Proxy, str], None] | None = None) -> None:
    """Serve until SIGTERM or SIGINT, then drain; a second signal ends the process at once.

    Blocks; raises ListenError or ConfigError. `on_start` is called with the started proxy and the
    name of the event loop.
    """
    config = Config() if config is None else config
    name, factory = loop_factory(config.loop)
    raise_limit()
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(_serve(config, name, on_start))


async def _serve(
    config: Config, loop_name: str, on_start: Callable[[Proxy, str], None] | None
) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_log_exception)
    stop = asyncio.Event()

    def stop_or_exit(number: int) -> None:
        if stop.is_set():
            os._exit(128 + number)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop_or_exit, number)
    proxy = Proxy(config)
    await proxy.start()
    if on_start is not None:
        on_start(proxy, loop_name)
    await stop.wait()
    await proxy.drain()


def _log_exception(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Tell what a peer or the machine did in one line, and a defect of ours with its traceback."""
    error = context.get("exception")
    if isinstance(error, OSError):
        _log.warning("%s: %s", context.get("message"), error)
    else:
        _log.error("%s", context.get("message"), exc_info=error)
