"""What can be configured, frozen and validated; nothing here reads argv, files or variables.

Its parts are in `sections.py`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Literal, get_args

from cmux_proxy.config.host_names import ANY_HOST_NAME
from cmux_proxy.config.sections import (
    Access,
    Limits,
    Observability,
    PoolLimits,
    Rewriting,
    Routing,
    Timeouts,
)
from cmux_proxy.config.validators import check_choice, check_mode, check_number, check_zone
from cmux_proxy.errors import ConfigError

LoopName = Literal["auto", "uvloop", "asyncio"]
LogLevel = Literal["debug", "info", "warning", "error"]

DEFAULT_LISTEN = ("0.0.0.0:8080", "127.0.0.1:8080")
DEFAULT_UPSTREAM_HOST = "127.0.0.1"
MAX_BUSY_POLL = 0.01

_ADDRESS = re.compile(r"(?:\[(?P<v6>[^\[\]]+)\]|(?P<v4>[^:\[\]]+)):(?P<port>[0-9]{1,5})", re.ASCII)
_PATH = re.compile(r"unix:(/[^,\0\n]+)")
_DESCRIPTOR = re.compile(r"fd://([0-9]{1,6})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Address:
    """An IP address and a port, or the path of a Unix socket; as bound or to be bound.

    Where there is a `path`, `host` is empty and `port` is 0.
    """

    host: str
    port: int
    path: str = ""

    @classmethod
    def parse(cls, text: str, field_name: str = "listen") -> "Address":
        """Read "127.0.0.1:8080", "[::1]:8080" or "unix:/run/a.sock"; raise ConfigError else."""
        path = _PATH.fullmatch(text)
        if path is not None:
            return cls("", 0, path[1])
        match = _ADDRESS.fullmatch(text)
        others = ", unix:/PATH or fd://N" if field_name == "listen" else " or unix:/PATH"
        problem = ConfigError(field_name, f"{text!r} is not IPv4:PORT, [IPv6]:PORT{others}")
        if match is None or int(match["port"]) > 65535:
            raise problem
        try:
            host = ip_address(match["v6"] or match["v4"])
        except ValueError:
            raise problem from None
        if (host.version == 6) != (match["v6"] is not None):
            raise problem
        check_zone(field_name, host)
        return cls(str(host), int(match["port"]))

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def listen_entry(text: str) -> Address | int:
    """Read an entry of `listen`: an address, or the descriptor in "fd://3"; raise ConfigError."""
    match = _DESCRIPTOR.fullmatch(text)
    return Address.parse(text) if match is None else int(match[1])


@dataclass(frozen=True, slots=True)
class Config:
    """Everything a proxy needs to know; raises ConfigError, which names the field.

    `listen` takes strings such as "127.0.0.1:8080", "[::1]:0", "unix:/run/cmux-proxy.sock", or
    "fd://3" for a socket that listens already. `unix_mode` are the permissions of the files of
    these Unix sockets, such as 0o660; None leaves them to the umask. `upstream_host` is a name or
    an IP address; None means 127.0.0.1, and where that refuses, ::1. `busy_poll` is for how many
    seconds the event loop may go on looking for events before it sleeps. Each of the `workers` is
    a proxy of its own, with the limits and the pool given here.
    """

    listen: Sequence[str] = DEFAULT_LISTEN
    upstream_host: str | None = None
    routing: Routing = field(default_factory=Routing)
    rewriting: Rewriting = field(default_factory=Rewriting)
    limits: Limits = field(default_factory=Limits)
    timeouts: Timeouts = field(default_factory=Timeouts)
    pool: PoolLimits = field(default_factory=PoolLimits)
    access: Access = field(default_factory=Access)
    observability: Observability = field(default_factory=Observability)
    loop: LoopName = "auto"
    busy_poll: float = 0.0
    log_level: LogLevel = "info"
    workers: int = 1
    unix_mode: int | None = None

    def __post_init__(self) -> None:
        if isinstance(self.listen, str) or not self.listen:
            raise ConfigError("listen", "needs at least one address, as a list of strings")
        for text in self.listen:
            listen_entry(text)
        object.__setattr__(self, "listen", tuple(self.listen))
        if self.unix_mode is not None:
            check_mode("unix_mode", self.unix_mode)
        if self.upstream_host is not None:
            object.__setattr__(self, "upstream_host", _upstream_host(self.upstream_host))
        self._check_admin()
        check_number("busy_poll", self.busy_poll, least=0, most=MAX_BUSY_POLL)
        check_choice("loop", self.loop, get_args(LoopName))
        check_choice("log_level", self.log_level, get_args(LogLevel))
        if type(self.workers) is not int or self.workers < 1:
            raise ConfigError("workers", f"{self.workers!r} is not a whole number of at least 1")

    def _check_admin(self) -> None:
        if self.observability.admin is None:
            return
        admin = Address.parse(self.observability.admin, "observability.admin")
        if admin in self.addresses() and (admin.port or admin.path):
            raise ConfigError("observability.admin", f"{admin} is the proxy's own, from listen")

    def addresses(self) -> list[Address]:
        """Return the addresses to listen on, in the order given."""
        return [entry for entry in map(listen_entry, self.listen) if isinstance(entry, Address)]

    def descriptors(self) -> list[int]:
        """Return the descriptors of sockets that listen already, in the order given, each once."""
        numbers = [entry for entry in map(listen_entry, self.listen) if isinstance(entry, int)]
        return list(dict.fromkeys(numbers))


def _upstream_host(text: str) -> str:
    """Return a host name or IP literal, brackets removed; raise ConfigError for anything else."""
    inner = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        address = ip_address(inner)
    except ValueError:
        pass
    else:
        check_zone("upstream_host", address)
        return str(address)
    # A name of digits and dots that is no address is a mistyped address.
    if inner is text and ANY_HOST_NAME.fullmatch(text) and not re.fullmatch(r"[0-9.]+", text):
        return text
    raise ConfigError("upstream_host", f"{text!r} is not a host name or an IP address")
