"""`run`: checks the configuration against the system, then starts one process or several.

Does not serve. Neighbours: `worker` is the only process or one of several, `supervisor` watches
several.
"""

import os
import socket
from collections.abc import Sequence
from functools import partial

from cmux_proxy.config.proxy_config import Config
from cmux_proxy.server.access_log_file import check_file
from cmux_proxy.server.admin import open_admin, run_admin
from cmux_proxy.server.binding import bound_address, open_worker_sockets
from cmux_proxy.server.connection_limits import check_descriptor_limit, raise_descriptor_limit
from cmux_proxy.server.notify import Notifier
from cmux_proxy.server.reload import can_reload
from cmux_proxy.server.signals import SignalQueue
from cmux_proxy.server.stats_rpc import StatsChannels
from cmux_proxy.server.supervisor import Job, Supervisor, SupervisorOptions
from cmux_proxy.server.tracing import require_tracing
from cmux_proxy.server.worker import OnStart, choose_loop, run_single, run_supervised


def run(config: Config | None = None, on_start: OnStart | None = None) -> int:
    """Serve until SIGTERM or SIGINT, then drain; return the exit status.

    Blocks; raises ListenError or ConfigError. `on_start` is called with the addresses and the name
    of the event loop once all workers accept. A second signal ends everything at once: one worker
    by ending the process, several with status 128 plus the number of the signal.
    """
    config = Config() if config is None else config
    with SignalQueue(exits_on_second_stop=True) as signals:
        raise_descriptor_limit()
        check_descriptor_limit(str(config.listen[0]))
        check_file(config.observability)
        if config.observability.otlp is not None:
            require_tracing()
        config, admin = open_admin(config)
        if config.workers == 1:
            run_single(config, signals, on_start, admin)
            return 0
        return _run_several(config, signals, on_start, admin)


def _run_several(
    config: Config, signals: SignalQueue, on_start: OnStart | None, admin: Sequence[socket.socket]
) -> int:
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

    options = SupervisorOptions(config.timeouts.drain, can_reload(config))
    jobs = [Job(sockets, partial(serve, number)) for number, sockets in enumerate(groups, start=1)]
    last_job = Job(admin, serve_admin) if admin else None
    try:
        on_stop = None if channels is None else channels.close
        supervisor = Supervisor(jobs, notifier, options, last_job, on_stop)
        return supervisor.run(on_accepting, signals.take())
    finally:
        if channels is not None:
            channels.close()
