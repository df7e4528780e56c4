"""The CMUX_ variables: which ones a command reads, and which ones that are set are unknown.

The server reads all of them. Of the subcommands only `healthcheck` and `trust` read some, because a
mistake in a setting of the server must not break `connect`, and ssh with it.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import click

from cmux_proxy.config.options import FLAGS
from cmux_proxy.config.sections import TOKEN_VARIABLE

CONFIG_VARIABLE: Final = "CMUX_CONFIG"

_PREFIX: Final = "CMUX_"
# The build and the tests of this package read these.
_PACKAGE: Final = re.compile(r"CMUX_PROXY_COMPILE|CMUX_TEST_[A-Z]+")
_SETTINGS: Final = frozenset({CONFIG_VARIABLE, TOKEN_VARIABLE, *(flag.variable for flag in FLAGS)})
# The cmux terminal sets these for every shell.
_TERMINAL: Final = re.compile(
    r"CMUX_(?:(?:WORKSPACE|SURFACE|TAB|PANE|PANEL|WINDOW|BUNDLE|TERMINAL_LIFECYCLE)_ID|TAG"
    r"|SOCKET(?:_.+)?|PORT(?:_END|_RANGE)?|BUNDLED_CLI_PATH|DEBUG_LOG|CLAUDE_.+|LOAD_GHOSTTY_.+"
    r"|SHELL_INTEGRATION(?:_DIR)?)"
)
# Kubernetes sets these for each service: https://kubernetes.io/docs/concepts/services-networking
_SERVICE: Final = re.compile(
    r"CMUX_.+_(?:SERVICE_(?:HOST|PORT(?:_.+)?)|PORT_[0-9]+_(?:TCP|UDP|SCTP)(?:_.+)?)"
)
_SERVICE_PORT: Final = re.compile(r"(?:tcp|udp|sctp)://.*")

_READ: Final = "cmux_proxy.config.environment.read"
_READ_BY: Final[dict[str, frozenset[str]]] = {
    "healthcheck": frozenset({"config", "listen"}),
    "trust": frozenset({"config", "host_suffix"}),
}


class ServerOption(click.Option):
    """A flag of the server; only commands that read it take its variable."""

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        """Return the variable's value, None if it is not set or not read."""
        return super().resolve_envvar_value(ctx) if is_read(ctx, self.name or "") else None


def choose_variables(
    context: click.Context, commands: Collection[str], arguments: Sequence[str]
) -> None:
    """Choose the settings of the server that are read; a subcommand is the first argument."""
    name = arguments[0] if arguments else None
    if name is None or name not in commands:
        return
    needs_none = any(word.startswith(("--listen", "--help", "-h")) for word in arguments[1:])
    context.meta[_READ] = frozenset() if needs_none else _READ_BY.get(name, frozenset())


def is_read(context: click.Context | None, parameter: str) -> bool:
    """Return whether the command reads a setting of the server from variable or file."""
    settings: Any = None if context is None else context.meta.get(_READ)
    return settings is None or parameter in settings


def unknown_variables(variables: Mapping[str, str]) -> list[str]:
    """Return the CMUX_ variables that are unknown, each with the most similar known name."""
    names = sorted(name for name in variables if name.startswith(_PREFIX))
    return [_with_suggestion(name) for name in names if not _is_known(name, variables[name])]


def _is_known(name: str, value: str) -> bool:
    if name in _SETTINGS or _PACKAGE.fullmatch(name):
        return True
    if _TERMINAL.fullmatch(name) or _SERVICE.fullmatch(name):
        return True
    return name.endswith("_PORT") and _SERVICE_PORT.fullmatch(value) is not None


def _with_suggestion(name: str) -> str:
    import difflib

    close = difflib.get_close_matches(name, sorted(_SETTINGS), n=1, cutoff=0.75)
    return f"{name} (did you mean {close[0]}?)" if close else name
