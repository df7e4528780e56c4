"""cmux-proxy doctor: checks a route from end to end, and names a remedy for each problem."""

from collections.abc import Iterable, Sequence
from typing import Final

import click

from cmux_proxy.client.check_plan import Route
from cmux_proxy.client.check_result import NOTE, OK, PROBLEM, CheckResult
from cmux_proxy.client.checks import Checks, check_proxy
from cmux_proxy.client.client_options import UrlType, header_lines, proxy_options
from cmux_proxy.client.proxy_url import ProxyUrl
from cmux_proxy.commands.connect import TIMED_OUT
from cmux_proxy.commands.output import print_line, warn
from cmux_proxy.commands.table import coloured
from cmux_proxy.config.token_file import Tokens
from cmux_proxy.config.values import host_value
from cmux_proxy.machine.describe import describe_ports
from cmux_proxy.machine.listening import LISTENERS_UNKNOWN, ListenerScanner
from cmux_proxy.routing.workspace import workspace_ip

_FAILED: Final = 1
_COLOURS: Final = {OK: "green", PROBLEM: "red", NOTE: None}


@click.command("doctor")
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the service.")
@click.option("--host", help="Host to try, as a browser sends it; it may name the port.")
@click.option(
    "--proxy", type=UrlType(), default="http://127.0.0.1:8080", show_default=True,
    help="URL of the proxy.",
)  # fmt: skip
@click.option("--path", default="/", show_default=True, help="Path of the requests.")
@proxy_options
def doctor_command(
    port: int | None,
    host: str | None,
    proxy: ProxyUrl,
    path: str,
    workspace: str | None,
    headers: Sequence[str],
    token_file: Tokens | None,
    timeout: float,
) -> int:
    """Check a route through the proxy to a service: one line per step, with a remedy."""
    if token_file is not None and token_file.warning:
        warn(f"cmux-proxy: WARNING: {token_file.warning}")
    extra_fields = [_field(line) for line in header_lines(headers, token_file)]
    _check_arguments(host, workspace, path)
    if port is None and host is None:
        route = Route.of(proxy, 1, None, None, path, extra_fields)
        return print_check_results(_proxy_alone(route, timeout))
    try:
        route = Route.of(proxy, port, host, workspace, path, extra_fields)
    except ValueError as error:
        raise click.BadParameter(f"{error}; give --port", param_hint="--host") from None
    return print_check_results(Checks(route, timeout).run())


def _check_arguments(host: str | None, workspace: str | None, path: str) -> None:
    try:
        host_value(host or "localhost")
        workspace_ip(workspace or "1")
    except ValueError as error:
        raise click.UsageError(f"Invalid host or workspace: {error}") from None
    if not path.startswith("/") or not path.isascii() or not path.isprintable() or " " in path:
        raise click.BadParameter(f"{path!r} is not a path like /events", param_hint="--path")


def _field(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name, value.strip(" \t")


def _proxy_alone(route: Route, timeout: float) -> Iterable[CheckResult]:
    scanner = ListenerScanner()
    listeners = scanner.scan() if route.is_on_this_machine else []
    yield check_proxy(route, timeout, listeners)
    if not route.is_on_this_machine:
        yield CheckResult(
            NOTE, "bound", f"{route.proxy} is another machine; check a port with --port"
        )
    elif not scanner.is_complete:
        yield CheckResult(NOTE, "bound", LISTENERS_UNKNOWN)
    else:
        ports = describe_ports(listeners)
        yield CheckResult(NOTE, "bound", f"ports in use: {ports or 'none'}; check one with --port")


def print_check_results(results: Iterable[CheckResult]) -> int:
    """Print each result when it is available; return the exit status of the first problem."""
    status = 0
    for result in results:
        remedy = f" -> {result.remedy}" if result.remedy else ""
        level = coloured(result.level.ljust(7), _COLOURS[result.level])
        print_line(f"{level}  {result.name.ljust(9)}  {result.finding}{remedy}")
        if result.level == PROBLEM and status == 0:
            status = TIMED_OUT if result.is_timeout else _FAILED
    return status
