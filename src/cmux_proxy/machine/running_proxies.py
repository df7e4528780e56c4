"""Which of what listens is a cmux-proxy, as far as its command tells."""

import re
from collections.abc import Iterable
from ipaddress import ip_address
from typing import Final

from cmux_proxy.machine.listening import Listening

_MOST_LOOKED_AT: Final = 4096
# The program, its single file, or the module; `forward` listens too, and is none.
_COMMAND: Final = re.compile(
    r"(?:\S*python[0-9.]*(?: -\S+)* )?(?:-m cmux_proxy|(?:\S*/)?cmux-proxy[\w.+-]*)(?= |\Z)"
    r"(?! forward )"
)


def proxies(found: Iterable[Listening]) -> list[Listening]:
    """Return those that are proxies."""
    return [each for each in found if _is_proxy(each.command or "")]


def reachable_from_outside(found: Iterable[Listening]) -> list[Listening]:
    """Return the proxies that are reached at an address of the machine that is no loopback."""
    return [each for each in proxies(found) if not ip_address(each.address).is_loopback]


def _is_proxy(command: str) -> bool:
    return _COMMAND.match(command[:_MOST_LOOKED_AT]) is not None
