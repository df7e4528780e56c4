"""What all subcommands at the user's end take: where the proxy is, and how it lets one in."""

import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from cmux_proxy.client.proxy_url import ProxyUrl
from cmux_proxy.config.option_types import DurationType, TokenFileType
from cmux_proxy.config.token_file import Tokens
from cmux_proxy.routing.workspace import workspace_label

_HEADER = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[ \t]*[\t\x20-\x7e\x80-\xff]*", re.ASCII)

F = TypeVar("F", bound=Callable[..., Any])


class Url(click.ParamType[ProxyUrl]):
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


class Header(click.ParamType[str]):
    """A whole header line."""

    name = "LINE"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Read "Name: value"."""
        if _HEADER.fullmatch(value) is None:
            self.fail(f"{value!r} is not a header line like 'Name: value'", param, ctx)
        return value


class Workspace(click.ParamType[str]):
    """The name of a workspace, as a field can have it."""

    name = "NAME"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return it as it is."""
        try:
            workspace_label(value)
        except ValueError as error:
            self.fail(f"{value!r} {error}", param, ctx)
        return value


def proxy_options(function: F) -> F:
    """Add the flags that say how to get to the port; see `lines_of`."""
    for option in (
        click.option(
            "--timeout", type=DurationType(), default=10.0, show_default="10s",
            help="How long the proxy may take to answer.",
        ),
        click.option(
            "--token-file", type=TokenFileType(),
            help="File whose first line, comments (#) aside, is the proxy's token.",
        ),
        click.option(
            "--header", "headers", type=Header(), multiple=True,
            help="Further header line for the proxy, or what stands before it; repeatable.",
        ),
        click.option("--workspace", type=Workspace(), help="Workspace whose port is meant."),
    ):  # fmt: skip
        function = option(function)
    return function


def lines_of(headers: Sequence[str], tokens: Tokens | None) -> list[str]:
    """Return the header lines that the flags ask for."""
    return [*headers, *([f"X-Cmux-Token: {tokens[0]}"] if tokens else [])]
