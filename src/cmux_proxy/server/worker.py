"""One process: which event loop, which signals, and the drain at the end.

Alone, or one of several: then it has a lifeline, whose other end only the supervisor holds.
"""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final

from cmux_proxy.config import Address, Config
from cmux_proxy.errors import ConfigError
from cmux_proxy.server.administering import administered
from cmux_proxy.server.descriptors import raise_limit
from cmux_proxy.server.log_writing import LogWriter
from cmux_proxy.server.notify import Notifier
from cmux_proxy.server.proxy import Proxy
from cmux_proxy.server.snapshot import Snapshot
from cmux_proxy.server.telling import Answering, OneWorker

_log = logging.getLogger("cmux_proxy")

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
# What has the file of the access log opened anew.
REOPEN_SIGNAL: Final = signal.SIGHUP
# What a worker says on its lifeline once it accepts, and again as long as it does if that matters.
ACCEPTING: Final = b"\0"
# The interpreter would look for garbage whenever there are 700 more objects than before.
_COLLECT_AFTER: Final = 10_000

LoopFactory = Callable[[], asyncio.AbstractEventLoop]
OnStart = Callable[[list[Address], str], None]


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


def run_alone(
    config: Config, on_start: OnStart | None = None, admin: Sequence[socket.socket] = ()
) -> None:
    """Serve until SIGTERM or SIGINT, then drain; a second signal ends the process at once.

    Raises ListenError or ConfigError. `on_start` is called with the addresses and the name of the
    event loop once the proxy accepts.
    """
    name, factory = loop_factory(config.loop)
    raise_limit()
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(_serve_alone(config, name, on_start, admin))


def run_supervised(
    config: Config,
    sockets: Sequence[socket.socket],
    lifeline: socket.socket,
    beat: float | None = None,
    channel: socket.socket | None = None,
) -> None:
    """Serve on `sockets` until a signal or the end of the lifeline, then drain.

    Any number of signals is one, since whoever signals the whole group signals the supervisor too,
    and that one passes it on. They have to be blocked before, and are blocked afterwards, so that
    none of them finds the process without a handler. Every `beat` seconds it says that it is alive;
    on `channel` it tells what it does.
    """
    _, factory = loop_factory(config.loop)
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(_serve_supervised(config, sockets, lifeline, beat, channel))


async def _serve_alone(
    config: Config, loop_name: str, on_start: OnStart | None, admin: Sequence[socket.socket]
) -> None:
    stop = asyncio.Event()

    def stop_or_exit(number: int) -> None:
        if stop.is_set():
            os._exit(128 + number)
        stop.set()

    _take_over(stop_or_exit)
    notifier = Notifier.from_environment(os.environ)
    with _writing(config) as log:
        proxy = Proxy(config, on_record=None if log is None else log.put)
        await proxy.start()
        source = OneWorker(partial(_report, proxy, log))
        async with administered(config, admin, source, proxy.addresses):
            if on_start is not None:
                on_start(proxy.addresses, loop_name)
            notifier.ready(proxy.addresses)
            if notifier.watchdog is not None:
                _repeat(notifier.watchdog / 2, notifier.alive)
            _spare_collector()
            await stop.wait()
            notifier.stopping()
            await proxy.drain()


async def _serve_supervised(
    config: Config,
    sockets: Sequence[socket.socket],
    lifeline: socket.socket,
    beat: float | None,
    channel: socket.socket | None,
) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    _take_over(lambda _number: stop.set())
    # The supervisor says nothing, so what can be read is its end.
    loop.add_reader(lifeline, stop.set)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    with _writing(config) as log:
        proxy = Proxy(config, on_record=None if log is None else log.put)
        await proxy.start(sockets)
        report = partial(_report, proxy, log)
        answering = None if channel is None else Answering(channel, report)
        # Nobody may wait for a supervisor that does not listen.
        lifeline.setblocking(False)
        _say_accepting(lifeline)
        if beat is not None:
            _repeat(beat, partial(_say_accepting, lifeline))
        _spare_collector()
        await stop.wait()
        loop.remove_reader(lifeline)
        await proxy.drain()
        if answering is not None:
            answering.close()
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)


def _report(proxy: Proxy, log: LogWriter | None, most: int) -> Snapshot:
    """Return what a worker says of itself, with what its access log has lost."""
    return proxy.snapshot(most) | ({} if log is None else {"lost_lines": log.lost()})


@contextlib.contextmanager
def _writing(config: Config) -> Iterator[LogWriter | None]:
    """Write the access log, and give what takes it; where that is a file, SIGHUP opens it anew."""
    if config.observing.access_log == "off":
        # Who turns files over need not know that nothing is written to this one.
        _on_reopen(config, lambda: None)
        yield None
        return
    with LogWriter(config.observing) as log:
        _on_reopen(config, log.reopen)
        yield log


def _on_reopen(config: Config, action: Callable[[], None]) -> None:
    if config.observing.access_log_file is not None:
        asyncio.get_running_loop().add_signal_handler(REOPEN_SIGNAL, action)
        # The supervisor has it blocked until it can be dealt with.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [REOPEN_SIGNAL])


def _say_accepting(lifeline: socket.socket) -> None:
    try:
        lifeline.send(ACCEPTING)
    except OSError:
        pass  # the supervisor has gone, and the reader will say so; or it has not heard much more


def _repeat(interval: float, action: Callable[[], None]) -> None:
    """Do it from time to time, for as long as the running loop gets round to it."""
    action()
    asyncio.get_running_loop().call_later(interval, _repeat, interval, action)


def _take_over(on_signal: Callable[[int], None]) -> None:
    """Have the running loop tell what comes: signals that stop it, and what goes wrong."""
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_log_exception)
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, on_signal, number)


def _spare_collector() -> None:
    """Have the garbage collector leave alone what lives as long as the process, and run seldom.

    Connections and exchanges are in no cycles when they end, so they do not need it.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER)


def _log_exception(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Tell what a peer or the machine did in one line, and a defect of ours with its traceback."""
    error = context.get("exception")
    if isinstance(error, OSError):
        _log.warning("%s: %s", context.get("message"), error)
    elif isinstance(error, MemoryError):
        _log.warning("%s: no memory is left", context.get("message"))
    else:
        _log.error("%s", context.get("message"), exc_info=error)
