"""`run`: checks the configuration against the system, then starts one process or several.

Does not serve. Neighbours: `worker` is the only process, `worker_group` starts several. What only
some settings need is imported here, at the start, where they are set.
"""

import socket

from cmux_proxy.config.proxy_config import Config
from cmux_proxy.server.access_log_file import check_file
from cmux_proxy.server.connection_limits import check_descriptor_limit, raise_descriptor_limit
from cmux_proxy.server.reload import load_certificates
from cmux_proxy.server.signals import SignalQueue
from cmux_proxy.server.tracing import require_tracing
from cmux_proxy.server.worker import OnStart, run_single
from cmux_proxy.upstream.upstream_tls import UpstreamTls


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
        load_certificates(config)
        UpstreamTls(config.upstreams.ca)
        if config.observability.otlp is not None:
            require_tracing()
        admin: list[socket.socket] = []
        if config.observability.admin is not None:
            from cmux_proxy.server.admin import open_admin

            config, admin = open_admin(config)
        if config.workers == 1:
            run_single(config, signals, on_start, admin)
            return 0
        from cmux_proxy.server.worker_group import run_several

        return run_several(config, signals, on_start, admin)
