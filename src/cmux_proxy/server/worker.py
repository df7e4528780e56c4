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

from cmux_proxy.config.proxy_config import Address, Config
from cmux_proxy.errors import ConfigError
from cmux_proxy.server.access_log_writer import LogWriter
from cmux_proxy.server.admin import administered
from cmux_proxy.server.notify import Notifier
from cmux_proxy.server.proxy import Proxy
from cmux_proxy.server.reload import can_reload, reload
from cmux_proxy.server.signals import HANGUP, UNUSED, Signals, handled_signals, report_unused
from cmux_proxy.server.snapshot import Snapshot
from cmux_proxy.server.stats_rpc import OneWorker, StatsResponder

_log = logging.getLogger("cmux_proxy")

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
    config: Config,
    signals: Signals,
    on_start: OnStart | None = None,
    admin: Sequence[socket.socket] = (),
) -> None:
    """Serve until a signal stops it, then drain.

    Raises ListenError or ConfigError. `on_start` is called with the addresses and the name of the
    event loop once the proxy accepts.
    """
    name, factory = loop_factory(config.loop)
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(_serve_alone(config, signals, name, on_start, admin))


def run_supervised(
    config: Config,
    sockets: Sequence[socket.socket],
    lifeline: socket.socket,
    beat: float | None = None,
    channel: socket.socket | None = None,
) -> None:
    """Serve on `sockets` until a signal or the end of the lifeline, then drain.

    Any number of stop signals is one, since whoever signals the whole group signals the supervisor
    too, and that one passes it on. Signals have to be blocked before, and are blocked afterwards,
    so that none of them finds the process without a handler. Every `beat` seconds it says that it
    is alive; on `channel` it tells what it does.
    """
    _, factory = loop_factory(config.loop)
    with Signals(exits_at_once=False) as signals:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, handled_signals())
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(_serve_supervised(config, signals, sockets, lifeline, beat, channel))
        signal.pthread_sigmask(signal.SIG_BLOCK, handled_signals())


async def _serve_alone(
    config: Config,
    signals: Signals,
    loop_name: str,
    on_start: OnStart | None,
    admin: Sequence[socket.socket],
) -> None:
    asyncio.get_running_loop().set_exception_handler(_log_exception)
    stop = asyncio.Event()
    notifier = Notifier.from_environment(os.environ)
    with _writing(config) as log:
        proxy = Proxy(config, on_record=None if log is None else log.put)
        await proxy.start()
        source = OneWorker(partial(_report, proxy, log))
        async with administered(config, admin, source, proxy.addresses) as takers:
            _attach(
                signals, config, stop, partial(reload, config, log, [proxy.replace_tokens, *takers])
            )
            if on_start is not None:
                on_start(proxy.addresses, loop_name)
            notifier.ready(proxy.addresses)
            if notifier.watchdog is not None:
                _repeat(notifier.watchdog / 2, notifier.alive)
            _spare_collector()
            await stop.wait()
            notifier.stopping()
            await proxy.drain()
            signals.detach()


async def _serve_supervised(
    config: Config,
    signals: Signals,
    sockets: Sequence[socket.socket],
    lifeline: socket.socket,
    beat: float | None,
    channel: socket.socket | None,
) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_log_exception)
    stop = asyncio.Event()
    # The supervisor says nothing, so what can be read is its end.
    loop.add_reader(lifeline, stop.set)
    with _writing(config) as log:
        proxy = Proxy(config, on_record=None if log is None else log.put)
        await proxy.start(sockets)
        _attach(signals, config, stop, partial(reload, config, log, [proxy.replace_tokens]))
        report = partial(_report, proxy, log)
        answering = None if channel is None else StatsResponder(channel, report)
        # Nobody may wait for a supervisor that does not listen.
        lifeline.setblocking(False)
        _say_accepting(lifeline)
        if beat is not None:
            _repeat(beat, partial(_say_accepting, lifeline))
        _spare_collector()
        await stop.wait()
        loop.remove_reader(lifeline)
        await proxy.drain()
        signals.detach()
        if answering is not None:
            answering.close()


def _attach(
    signals: Signals, config: Config, stop: asyncio.Event, reload: Callable[[], None]
) -> None:
    """Have the running loop act on signals."""
    loop = asyncio.get_running_loop()
    reloads = can_reload(config)

    def act(number: int) -> None:
        if number in UNUSED:
            report_unused(number)
        elif number == HANGUP and reloads:
            reload()
        else:
            stop.set()

    signals.attach(lambda number: loop.call_soon_threadsafe(act, number))


def _report(proxy: Proxy, log: LogWriter | None, most: int) -> Snapshot:
    """Return what a worker says of itself, with what its access log has lost."""
    return proxy.snapshot(most) | ({} if log is None else {"lost_lines": log.lost()})


@contextlib.contextmanager
def _writing(config: Config) -> Iterator[LogWriter | None]:
    """Write the access log, and give what takes it."""
    if config.observability.access_log == "off":
        yield None
        return
    with LogWriter(config.observability) as log:
        yield log


def _say_accepting(lifeline: socket.socket) -> None:
    try:
        lifeline.send(ACCEPTING)
    except OSError:
        pass  # the supervisor has gone, and the reader will say so; or it has not heard much more


def _repeat(interval: float, action: Callable[[], None]) -> None:
    """Do it from time to time, for as long as the running loop gets round to it."""
    action()
    asyncio.get_running_loop().call_later(interval, _repeat, interval, action)


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
