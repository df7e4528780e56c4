"""Several workers: their sockets, and the admin process beside them.

Loaded only where there are several. Does not serve. Neighbours: `launch` has checked the system,
`supervisor` keeps the processes running, `worker` is one of them.
"""

import os
import socket
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from typing import Final

from cmux_proxy._build import HAS_NATIVE
from cmux_proxy.config.proxy_config import Config
from cmux_proxy.server.admin import run_admin
from cmux_proxy.server.binding import bound_address, open_worker_sockets
from cmux_proxy.server.event_loops import choose_loop
from cmux_proxy.server.notify import Notifier
from cmux_proxy.server.reload import can_reload
from cmux_proxy.server.signals import SignalQueue
from cmux_proxy.server.stats_rpc import StatsChannels
from cmux_proxy.server.supervisor import Job, Supervisor, SupervisorOptions
from cmux_proxy.server.worker import OnStart, run_supervised

# What a worker may load for its settings. It is loaded before, because a worker that is started
# again must not find the files of an upgrade.
_NEEDED_BY_WORKERS: Final = (
    "cmux_proxy.relay.access",
    "cmux_proxy.server.snapshot",
    *(["cmux_proxy.net.native_backend"] if HAS_NATIVE else []),
)


def run_several(
    config: Config, signals: SignalQueue, on_start: OnStart | None, admin: Sequence[socket.socket]
) -> int:
    """Serve with `config.workers` processes until a signal stops them; return the exit status.

    Raises ListenError or ConfigError. `admin` are the sockets of the admin listener.
    """
    for name in _NEEDED_BY_WORKERS:
        import_module(name)
    loop_name, _ = choose_loop(config)
    groups = open_worker_sockets(config)
    addresses = [bound_address(sock) for sock in groups[0]]
    notifier = Notifier.from_environment(os.environ)
    channels = StatsChannels(config.workers) if admin else None

    def serve(number: int, sockets: Sequence[socket.socket], lifeline: socket.socket) -> None:
        channel = None if channels is None else channels.take_worker(number)
        run_supervised(config, sockets, lifeline, notifier.heartbeat_interval, channel)

    def serve_admin(sockets: Sequence[socket.socket], lifeline: socket.socket) -> None:
        if channels is not None:
            run_admin(config, sockets, channels.take_admin(), lifeline, addresses)

    def on_accepting() -> None:
        if on_start is not None:
            on_start(addresses, loop_name)
        notifier.ready(addresses)

    options = SupervisorOptions(
        config.timeouts.drain_delay + config.timeouts.drain, can_reload(config)
    )
    jobs = [Job(sockets, partial(serve, number)) for number, sockets in enumerate(groups, start=1)]
    last_job = Job(admin, serve_admin) if admin else None
    try:
        on_stop = None if channels is None else channels.close
        supervisor = Supervisor(jobs, notifier, options, last_job, on_stop)
        return supervisor.run(on_accepting, signals.take())
    finally:
        if channels is not None:
            channels.close()
