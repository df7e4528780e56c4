"""What is installed with an extra only: looked for before it is imported."""

import importlib.util
from collections.abc import Sequence

from cmux_proxy.errors import ConfigError


def need(field: str, extra: str, packages: Sequence[str]) -> None:
    """Raise ConfigError for a field of the configuration that needs what is not there."""
    if not all(map(_is_there, packages)):
        reason = f"needs what is not installed: pip install 'cmux-proxy[{extra}]'"
        raise ConfigError(field, reason)


def _is_there(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        # What it would be a part of is not there.
        return False
