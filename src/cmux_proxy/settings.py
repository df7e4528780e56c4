"""The parts of a configuration: limits, timeouts, pool, access; each validates itself.

Knows what a value may be, not what it does.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cmux_proxy.access_lists import HostPattern, PortRange, client_network
from cmux_proxy.errors import ConfigError

LEAST_BUFFER = 16 * 1024
MOST_BUFFER = 256 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """What a message may measure, in bytes where nothing else is said, and how many may come.

    None does not limit; `clients` is bounded by the file descriptors all the same.
    """

    request_line: int = 16 * 1024
    header_section: int = 64 * 1024
    header_fields: int = 256
    response_head: int = 128 * 1024
    response_fields: int = 1024
    chunk_extensions: int = 16 * 1024
    trailers: int = 16 * 1024
    buffer: int = MOST_BUFFER
    clients: int | None = None
    clients_per_address: int | None = None
    upstream_connections: int | None = None

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if value is None and name in ("clients", "clients_per_address", "upstream_connections"):
                continue
            least, most = (LEAST_BUFFER, MOST_BUFFER) if name == "buffer" else (1, math.inf)
            check_number(f"limits.{name}", value, least, most)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long to wait, in seconds; None waits for ever."""

    connect: float = 5.0
    head: float | None = 15.0
    idle: float | None = 75.0
    request_body: float | None = 60.0
    response_head: float | None = None
    response_body: float | None = None
    tunnel: float | None = None
    linger: float = 5.0
    drain: float = 10.0

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if value is None and name not in ("connect", "linger", "drain"):
                continue
            check_number(f"timeouts.{name}", value, least=0)
        if self.connect == 0:
            raise ConfigError("timeouts.connect", "0 leaves no time to connect")


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """How many idle upstream connections are kept, and for how many seconds."""

    per_target: int = 256
    total: int = 1024
    idle: float = 4.0

    def __post_init__(self) -> None:
        for name in self.__slots__:
            check_number(f"pool.{name}", getattr(self, name), least=0)


@dataclass(frozen=True, slots=True)
class Access:
    """Who may come in and where to; what is empty does not restrict.

    Ports are like "3000" or "5000-5999", and a denied one is denied even if it is allowed; hosts
    are like "app.example", "*.example" or "[::1]", without a port; clients are IP addresses or
    networks. A request has to carry one of the `tokens`.
    """

    allow_ports: Sequence[str] = ()
    deny_ports: Sequence[str] = ()
    allow_hosts: Sequence[str] = ()
    allow_clients: Sequence[str] = ()
    tokens: Sequence[str] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        self._check("allow_ports", PortRange.parse)
        self._check("deny_ports", PortRange.parse)
        self._check("allow_hosts", HostPattern.parse)
        self._check("allow_clients", client_network)
        self._check("tokens", _token)

    def _check(self, name: str, parse: Callable[[str], object]) -> None:
        texts = getattr(self, name)
        if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
            raise ConfigError(f"access.{name}", "needs a list of strings")
        for text in texts:
            try:
                parse(text)
            except ValueError as error:
                raise ConfigError(f"access.{name}", str(error)) from None
        object.__setattr__(self, name, tuple(texts))


def _token(text: str) -> None:
    if not text.isascii() or not text.isprintable() or " " in text or not text:
        # What it was is not told: it may be a secret all the same.
        raise ValueError("a token is at least one visible ASCII character, without blanks")


def check_number(name: str, value: object, least: float, most: float = math.inf) -> None:
    """Raise ConfigError unless `value` is a finite number from `least` to `most`."""
    if (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and least <= value <= most
        and value < math.inf
    ):
        return
    bounds = f"of at least {least}" if most == math.inf else f"from {least} to {most}"
    raise ConfigError(name, f"{value!r} is not a number {bounds}")
