"""The flags of all client subcommands: the header lines, the token and the timeout."""

import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from cmux_proxy.client.proxy_url import ProxyUrl
from cmux_proxy.client.tunnel_ways import VIAS
from cmux_proxy.config.option_types import DurationType, TokenFileType
from cmux_proxy.config.token_file import Tokens
from cmux_proxy.routing.workspace import workspace_label

_HEADER = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[ \t]*[\t\x20-\x7e\x80-\xff]*", re.ASCII)

F = TypeVar("F", bound=Callable[..., Any])


class UrlType(click.ParamType[ProxyUrl]):
    """The address of a proxy."""

    name = "URL"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> ProxyUrl:
        """Read "http://vm:8080"."""
        try:
            return ProxyUrl.parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class HeaderType(click.ParamType[str]):
    """A whole header line."""

    name = "LINE"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Read "Name: value"."""
        if _HEADER.fullmatch(value) is None:
            self.fail(f"{value!r} is not a header line like 'Name: value'", param, ctx)
        return value


class WorkspaceType(click.ParamType[str]):
    """The name of a workspace."""

    name = "NAME"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name."""
        try:
            workspace_label(value)
        except ValueError as error:
            self.fail(f"{value!r} {error}", param, ctx)
        return value


def via_option(function: F) -> F:
    """Add the flag that says how tunnels are opened."""
    return click.option(
        "--via", type=click.Choice(VIAS), default="auto", show_default=True,
        help="How to open a tunnel: with CONNECT, in a WebSocket, or auto, which takes a WebSocket "
        "where CONNECT does not pass.",
    )(function)  # fmt: skip


def proxy_options(function: F) -> F:
    """Add the flags for a request through the proxy; see `header_lines`."""
    for option in (
        click.option(
            "--timeout", type=DurationType(), default=10.0, show_default="10s",
            help="Longest time until the proxy responds.",
        ),
        click.option(
            "--token-file", type=TokenFileType(),
            help="File with the token of the proxy in its first line that is not a # comment.",
        ),
        click.option(
            "--header", "headers", type=HeaderType(), multiple=True,
            help="Additional header line for the proxy or a proxy in front of it; repeatable.",
        ),
        click.option("--workspace", type=WorkspaceType(), help="Workspace that has the port."),
    ):  # fmt: skip
        function = option(function)
    return function


def header_lines(headers: Sequence[str], tokens: Tokens | None) -> list[str]:
    """Return the header lines that the flags add."""
    return [*headers, *([f"X-Cmux-Token: {tokens[0]}"] if tokens else [])]
