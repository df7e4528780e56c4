"""Packages that are installed with an extra only; checked before they are imported."""

import importlib.util
from collections.abc import Sequence

from cmux_proxy.errors import ConfigError


def require_packages(field: str, extra: str, packages: Sequence[str]) -> None:
    """Raise ConfigError for a field of the configuration if one of these packages is missing."""
    if not all(map(_is_installed, packages)):
        reason = f"needs packages that are not installed: pip install 'cmux-proxy[{extra}]'"
        raise ConfigError(field, reason)


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        # The parent package is missing.
        return False
