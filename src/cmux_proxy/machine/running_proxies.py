"""Which listening ports belong to a cmux-proxy, judged by the command lines of their processes."""

import re
from collections.abc import Iterable
from ipaddress import ip_address
from typing import Final

from cmux_proxy.machine.listening import ListeningPort

_MAX_COMMAND_LENGTH: Final = 4096
# The program, its single file, or the module. `cmux-proxy forward` listens too and is not a proxy.
_COMMAND: Final = re.compile(
    r"(?:\S*python[0-9.]*(?: -\S+)* )?(?:-m cmux_proxy|(?:\S*/)?cmux-proxy[\w.+-]*)(?= |\Z)"
    r"(?! forward )"
)


def find_proxies(listeners: Iterable[ListeningPort]) -> list[ListeningPort]:
    """Return the listeners that are proxies."""
    return [listener for listener in listeners if _is_proxy(listener.command or "")]


def find_public_proxies(listeners: Iterable[ListeningPort]) -> list[ListeningPort]:
    """Return the proxies that listen on an address that is not a loopback address."""
    return [proxy for proxy in find_proxies(listeners) if not ip_address(proxy.address).is_loopback]


def _is_proxy(command: str) -> bool:
    return _COMMAND.match(command[:_MAX_COMMAND_LENGTH]) is not None
