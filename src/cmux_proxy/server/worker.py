"""One process that serves: its event loop, its signals, and its drain at the end.

The only process, or one of several. One of several has a lifeline, a socket whose other end only
the supervisor holds. Does not start other processes.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from cmux_proxy.config.address import Address
from cmux_proxy.config.proxy_config import Config
from cmux_proxy.server.access_log_writer import AccessLogWriter
from cmux_proxy.server.event_loops import choose_loop, run
from cmux_proxy.server.notify import Notifier
from cmux_proxy.server.process_memory import tune_memory
from cmux_proxy.server.proxy import Proxy
from cmux_proxy.server.reload import ReplaceTokens, can_reload, reload
from cmux_proxy.server.signals import HANGUP, UNUSED, SignalQueue, handled_signals, log_unused
from cmux_proxy.server.unraisable_errors import hide_errors_of_peers

if TYPE_CHECKING:
    from cmux_proxy.observe.worker_stats import WorkerStats
    from cmux_proxy.server.stats_rpc import StatsResponder

_log = logging.getLogger("cmux_proxy")

# Sent on the lifeline as soon as the worker accepts, and again at intervals if there is a watchdog.
HEARTBEAT: Final = b"\0"

OnStart = Callable[[list[Address], str], None]


def run_single(
    config: Config,
    signals: SignalQueue,
    on_start: OnStart | None = None,
    admin: Sequence[socket.socket] = (),
) -> None:
    """Serve until a signal stops it, then drain.

    Raises ListenError or ConfigError. `on_start` is called with the addresses and the name of the
    event loop once the proxy accepts.
    """
    hide_errors_of_peers()
    name, factory = choose_loop(config)
    run(factory, _serve_single(config, signals, name, on_start, admin))


def run_supervised(
    config: Config,
    sockets: Sequence[socket.socket],
    lifeline: socket.socket,
    heartbeat_interval: float | None = None,
    channel: socket.socket | None = None,
) -> None:
    """Serve on `sockets` until a signal or the end of the lifeline, then drain.

    Several stop signals count as one, because a signal to the process group also reaches the
    supervisor, which forwards it. The caller blocks signals before, and they are blocked
    afterwards, so that no signal arrives while there is no handler. A heartbeat is sent on the
    lifeline every `heartbeat_interval` seconds; requests for statistics arrive on `channel`.
    """
    hide_errors_of_peers()
    _, factory = choose_loop(config)
    with SignalQueue(exits_on_second_stop=False) as signals:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, handled_signals())
        run(
            factory,
            _serve_supervised(config, signals, sockets, lifeline, heartbeat_interval, channel),
        )
        signal.pthread_sigmask(signal.SIG_BLOCK, handled_signals())


async def _serve_single(
    config: Config,
    signals: SignalQueue,
    loop_name: str,
    on_start: OnStart | None,
    admin: Sequence[socket.socket],
) -> None:
    asyncio.get_running_loop().set_exception_handler(handle_loop_exception)
    stop = asyncio.Event()
    notifier = Notifier.from_environment(os.environ)
    with _access_log(config) as log:
        proxy = Proxy(config, on_record=None if log is None else log.block)
        await proxy.start()
        async with _administered(config, admin, proxy, log) as subscribers:
            tokens = [proxy.replace_tokens, *subscribers]
            reload_files = partial(reload, config, log, tokens, proxy.reload_certificates)
            _attach_signals(signals, config, stop, reload_files)
            if on_start is not None:
                on_start(proxy.addresses, loop_name)
            notifier.ready(proxy.addresses)
            if notifier.watchdog_timeout is not None:
                _call_every(notifier.watchdog_timeout / 2, notifier.alive)
            tune_memory()
            await stop.wait()
            notifier.stopping()
            await proxy.drain()
            signals.detach()


async def _serve_supervised(
    config: Config,
    signals: SignalQueue,
    sockets: Sequence[socket.socket],
    lifeline: socket.socket,
    heartbeat_interval: float | None,
    channel: socket.socket | None,
) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(handle_loop_exception)
    stop = asyncio.Event()
    # The supervisor sends nothing, so the lifeline is readable only at its end.
    loop.add_reader(lifeline, stop.set)
    with _access_log(config) as log:
        proxy = Proxy(config, on_record=None if log is None else log.block)
        await proxy.start(sockets)
        tokens = [proxy.replace_tokens]
        reload_files = partial(reload, config, log, tokens, proxy.reload_certificates)
        _attach_signals(signals, config, stop, reload_files)
        responder = None if channel is None else _responder(channel, proxy, log)
        # The worker must not block while the supervisor does not read.
        lifeline.setblocking(False)
        _send_heartbeat(lifeline)
        if heartbeat_interval is not None:
            _call_every(heartbeat_interval, partial(_send_heartbeat, lifeline))
        tune_memory()
        await stop.wait()
        loop.remove_reader(lifeline)
        await proxy.drain()
        signals.detach()
        if responder is not None:
            responder.close()


def _attach_signals(
    signals: SignalQueue, config: Config, stop: asyncio.Event, reload: Callable[[], None]
) -> None:
    """Act on signals in the running loop."""
    loop = asyncio.get_running_loop()
    has_files_to_reload = can_reload(config)

    def act(number: int) -> None:
        if number in UNUSED:
            log_unused(number)
        elif number == HANGUP and has_files_to_reload:
            reload()
        else:
            stop.set()

    signals.attach(lambda number: loop.call_soon_threadsafe(act, number))


def _administered(
    config: Config, sockets: Sequence[socket.socket], proxy: Proxy, log: AccessLogWriter | None
) -> contextlib.AbstractAsyncContextManager[list[ReplaceTokens]]:
    """Serve the admin listener in this process while the context lasts, if it has sockets here."""
    if not sockets:
        return contextlib.nullcontext([])
    from cmux_proxy.server.admin import administered
    from cmux_proxy.server.stats_rpc import LocalStats

    source = LocalStats(partial(_collect_stats, proxy, log))
    return administered(config, sockets, source, proxy.addresses, proxy.http1_tls)


def _responder(
    channel: socket.socket, proxy: Proxy, log: AccessLogWriter | None
) -> "StatsResponder":
    """Report statistics on a channel from now on."""
    from cmux_proxy.server.stats_rpc import StatsResponder

    return StatsResponder(channel, partial(_collect_stats, proxy, log))


def _collect_stats(
    proxy: Proxy, log: AccessLogWriter | None, max_connections: int
) -> "WorkerStats":
    """Return the statistics of this worker, with the lines that its access log has lost."""
    stats = proxy.stats(max_connections)
    return stats if log is None else replace(stats, lost_lines=log.lost())


@contextlib.contextmanager
def _access_log(config: Config) -> Iterator[AccessLogWriter | None]:
    """Open the access log's writer; yield None where there is no access log."""
    if config.observability.access_log == "off":
        yield None
        return
    with AccessLogWriter(config.observability, asyncio.get_running_loop().call_later) as log:
        yield log


def _send_heartbeat(lifeline: socket.socket) -> None:
    try:
        lifeline.send(HEARTBEAT)
    except OSError:
        pass  # the supervisor has ended, or has not yet read earlier heartbeats


def _call_every(interval: float, action: Callable[[], None]) -> None:
    """Call `action` now and every `interval` seconds, unless the running loop is blocked."""
    action()
    asyncio.get_running_loop().call_later(interval, _call_every, interval, action)


def handle_loop_exception(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log an error of a peer or the machine as one line, and a bug with its traceback.

    An exception handler of event loops: `context` has `message`, and maybe `exception` and
    `transport`. A connection whose callback has failed is aborted: asyncio and uvloop go on with
    it after `pause_writing` and `resume_writing`, although nobody would read it again.
    """
    error = context.get("exception")
    abort = getattr(context.get("transport"), "abort", None)
    if error is not None and abort is not None:
        abort()
    if isinstance(error, OSError):
        _log.warning("%s: %s", context.get("message"), error)
    elif isinstance(error, MemoryError):
        _log.warning("%s: no memory is left", context.get("message"))
    else:
        _log.error("%s", context.get("message"), exc_info=error)
