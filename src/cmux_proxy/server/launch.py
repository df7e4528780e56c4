"""One process or several: what `run` starts, and what it has to know before.

Its neighbours are `worker`, the only process or one of several, and `supervisor`, which looks after
several.
"""

import os
import socket
from collections.abc import Sequence
from functools import partial

from cmux_proxy.config.proxy_config import Config
from cmux_proxy.server.access_log_writer import check_file
from cmux_proxy.server.admin import open_admin, run_admin
from cmux_proxy.server.binding import bound_address, open_shared
from cmux_proxy.server.connection_limits import check_limit, raise_limit
from cmux_proxy.server.notify import Notifier
from cmux_proxy.server.reload import can_reload
from cmux_proxy.server.signals import Signals
from cmux_proxy.server.stats_channels import Channels
from cmux_proxy.server.supervisor import Policy, Supervisor
from cmux_proxy.server.tracing import need_tracing
from cmux_proxy.server.worker import OnStart, loop_factory, run_alone, run_supervised


def run(config: Config | None = None, on_start: OnStart | None = None) -> int:
    """Serve until SIGTERM or SIGINT, then drain; return the exit status.

    Blocks; raises ListenError or ConfigError. `on_start` is called with the addresses and the name
    of the event loop once all workers accept. A second signal ends everything at once: one worker
    by ending the process, several with status 128 and the number of the signal.
    """
    config = Config() if config is None else config
    with Signals(exits_at_once=True) as signals:
        raise_limit()
        check_limit(str(config.listen[0]))
        check_file(config.observability)
        if config.observability.otlp is not None:
            need_tracing()
        config, admin = open_admin(config)
        if config.workers == 1:
            run_alone(config, signals, on_start, admin)
            return 0
        return _run_several(config, signals, on_start, admin)


def _run_several(
    config: Config, signals: Signals, on_start: OnStart | None, admin: Sequence[socket.socket]
) -> int:
    loop_name, _ = loop_factory(config.loop)
    groups = open_shared(config)
    addresses = [bound_address(sock) for sock in groups[0]]
    notifier = Notifier.from_environment(os.environ)
    channels = Channels(config.workers) if admin else None

    def serve(number: int, sockets: Sequence[socket.socket], lifeline: socket.socket) -> None:
        channel = None if channels is None else channels.take_worker(number)
        run_supervised(config, sockets, lifeline, notifier.beat, channel)

    def answer(sockets: Sequence[socket.socket], lifeline: socket.socket) -> None:
        if channels is not None:
            run_admin(config, sockets, channels.take_admin(), lifeline, addresses)

    def on_accepting() -> None:
        if on_start is not None:
            on_start(addresses, loop_name)
        notifier.ready(addresses)

    policy = Policy(config.timeouts.drain, can_reload(config))
    jobs = [(sockets, partial(serve, number)) for number, sockets in enumerate(groups, start=1)]
    last = (admin, answer) if admin else None
    try:
        on_stop = None if channels is None else channels.close
        return Supervisor(jobs, notifier, policy, last, on_stop).run(on_accepting, signals.take())
    finally:
        if channels is not None:
            channels.close()
