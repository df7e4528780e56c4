"""What can be configured, frozen and validated. Does not read argv, files or variables.

Most settings are in the sections, in `sections.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Literal, get_args

from cmux_proxy.config.address import Address, listen_entry, upstream_host
from cmux_proxy.config.path_section import Paths
from cmux_proxy.config.sections import (
    Access,
    Limits,
    Observability,
    Rewriting,
    Routing,
    Timeouts,
)
from cmux_proxy.config.setting import option, read_settings
from cmux_proxy.config.tls_section import Tls
from cmux_proxy.config.tunnel_section import Tunnels
from cmux_proxy.config.upstream_section import Upstreams
from cmux_proxy.config.validators import Choice, Entries, Mode, Number, Switch, Text, Unit
from cmux_proxy.errors import ConfigError

LoopName = Literal["auto", "native", "uvloop", "asyncio"]
LogLevel = Literal["debug", "info", "warning", "error"]

DEFAULT_LISTEN: Final = ("0.0.0.0:8080", "127.0.0.1:8080")
DEFAULT_UPSTREAM_HOST: Final = "127.0.0.1"
MAX_BUSY_POLL: Final = 0.01

_route: Final = partial(option, group="Addresses and routes")
_process: Final = partial(option, group="Process")


# fmt: off
@dataclass(frozen=True, slots=True)
class Config:
    """The configuration of a proxy; raises ConfigError, which names the field.

    Each of the `workers` is a separate proxy; the limits and the pool apply to each.
    """

    listen: Sequence[str] = _route(DEFAULT_LISTEN,
        Entries("ADDRESS", listen_entry, is_required=True), "listen",
        "Addresses to listen on: IPv4:PORT, [IPv6]:PORT, unix:/PATH, or fd://N for a socket that "
        "is passed to the process; repeatable, or comma-separated. Port 0 lets the system choose.")
    unix_mode: int | None = _route(None, Mode(may_be_none=True), "unix-mode",
        "File permissions of the Unix sockets in --listen, in octal, such as 660.",
        default_text="set by the umask", example="660")
    upstream_host: str | None = _route(None, Text("HOST", upstream_host), "upstream-host",
        "Host whose ports are served: a name or an IP address.",
        default_text="127.0.0.1, or ::1 if it refuses", example="127.0.0.1")
    routing: Routing = field(default_factory=Routing)
    rewriting: Rewriting = field(default_factory=Rewriting)
    access: Access = field(default_factory=Access)
    paths: Paths = field(default_factory=Paths)
    tls: Tls = field(default_factory=Tls)
    upstreams: Upstreams = field(default_factory=Upstreams)
    tunnels: Tunnels = field(default_factory=Tunnels)
    timeouts: Timeouts = field(default_factory=Timeouts)
    limits: Limits = field(default_factory=Limits)
    observability: Observability = field(default_factory=Observability)
    workers: int = _process(1, Number(Unit.WORKERS, 1, is_whole=True), "workers",
        "Number of worker processes that share the addresses; auto is one per usable CPU.")
    loop: LoopName = _process("auto", Choice(get_args(LoopName)), "loop",
        "Event loop; auto is native where it is built, and otherwise uvloop if it is installed.")
    no_native_io: bool = _process(False, Switch(), "no-native-io",
        "Use the connections of uvloop or asyncio instead of native ones, which are faster.")
    busy_poll: float = _process(0.0, Number(Unit.SECONDS, 0, MAX_BUSY_POLL), "busy-poll",
        "How long to poll for events without sleeping after one has arrived, such as 50us; at "
        "most 10ms. Lowers latency at the price of CPU time.", default_text="off", example=0)
    log_level: LogLevel = _process("info", Choice(get_args(LogLevel)), "log-level",
        "Lowest level of the messages that are logged to standard error.")
    # fmt: on

    def __post_init__(self) -> None:
        read_settings(self, "")
        if self.observability.admin is None:
            return
        admin = Address.parse(self.observability.admin, "observability.admin")
        if admin in self.addresses() and (admin.port or admin.path):
            raise ConfigError("observability.admin", f"{admin} is the proxy's own, from listen")

    def addresses(self) -> list[Address]:
        """Return the addresses to listen on, in the order given."""
        return [entry for entry in map(listen_entry, self.listen) if isinstance(entry, Address)]

    def descriptors(self) -> list[int]:
        """Return the descriptors of inherited sockets, in the order given, each once."""
        numbers = [entry for entry in map(listen_entry, self.listen) if isinstance(entry, int)]
        return list(dict.fromkeys(numbers))
