"""Checks of single values of a configuration; each raises ConfigError, which names the field."""

import math
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address

from cmux_proxy.errors import ConfigError


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Raise ConfigError unless it is one of these."""
    if value not in choices:
        raise ConfigError(name, f"{value!r} is not one of {', '.join(choices)}")


def check_boolean(name: str, value: object) -> None:
    """Raise ConfigError unless it is True or False."""
    if type(value) is not bool:
        raise ConfigError(name, f"{value!r} is neither True nor False")


def check_list(name: str, texts: Sequence[str], parse: Callable[[str], object]) -> None:
    """Raise ConfigError unless these are strings of which `parse` can make something."""
    if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
        raise ConfigError(name, "needs a list of strings")
    for text in texts:
        try:
            parse(text)
        except ValueError as error:
            raise ConfigError(name, str(error)) from None


def check_mode(name: str, value: object) -> None:
    """Raise ConfigError unless it is the permissions of a file."""
    if type(value) is not int or not 0 <= value <= 0o777:
        raise ConfigError(name, f"{value!r} is not a mode from 0 to 0o777")


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


def check_zone(name: str, address: IPv4Address | IPv6Address) -> None:
    """Raise ConfigError for an IPv6 address that is good on one interface only and names none."""
    if address.version == 6 and address.is_link_local and address.scope_id is None:
        reason = f"{address} is link-local and needs its interface, as in {address}%eth0"
        raise ConfigError(name, reason)
